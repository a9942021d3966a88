"""All commands in one literal table: the help of the group and the completion read it without importing a command.

A line per command: ``"name": Entry("module:object", "Group", "First docstring line.", ("imagic-name", ...))``; the object is
``cli``, or ``cli.images`` and ``cli.volumes`` where a file declares a pair. A name of two words (``"msa run"``, in the file
``msa_run.py``) is a command of a family of `FAMILIES`.
The aliases are IMAGIC's names; they work, and stay out of the group's help.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """Where a command lives, its group in the help, the first line of its docstring, its other names."""

    target: str
    group: str
    help: str
    aliases: tuple[str, ...] = ()


GROUPS = ("The 4D scheme", "MSA", "Alignment", "Images", "Volumes", "Files", "Truth and comparison", "Pictures", "Housekeeping")

#: First words that several commands share, and what `im4d WORD` says about them.
FAMILIES = {
    "header": "Look at and edit headers.",
    "msa": "Multivariate statistical analysis of images or volumes: eigenimages, classes, class averages.",
}
FAMILY_ALIASES = {"headers": "header"}

_C = "imagic4d_cli.commands."

TABLE: dict[str, Entry] = {
    "refine": Entry(
        _C + "refine:cli",
        "The 4D scheme",
        "Run the 4D scheme: several competing 3Ds from images of unknown orientation and membership.",
    ),
    "angrec": Entry(
        _C + "angrec:cli",
        "The 4D scheme",
        "Find Euler angles, shifts and 3D membership of images from anchor sets.",
        ("angular-reconstitution",),
    ),
    "prepare": Entry(
        _C + "prepare:cli", "The 4D scheme", "Normalise and centre images for the 4D scheme.", ("incore-prepare", "incprep")
    ),
    "regroup": Entry(
        _C + "regroup:cli",
        "The 4D scheme",
        "Merge 3Ds that say the same until --volumes are left, and split those that hold two.",
    ),
    "pool": Entry(
        _C + "pool:cli", "The 4D scheme", "Choose among the 3Ds of several runs those that together explain the images best."
    ),
    "moves": Entry(_C + "moves:cli", "The 4D scheme", "Say how far two iterations differ, and whether that is convergence."),
    "chance": Entry(_C + "chance:cli", "The 4D scheme", "Judge whether poses and memberships are above chance."),
    "recon": Entry(
        _C + "recon:cli",
        "The 4D scheme",
        "Reconstruct one 3D, or one for every 3D membership.",
        ("threed-reconstruction", "true-3d"),
    ),
    "forward": Entry(
        _C + "forward:cli",
        "The 4D scheme",
        "Project 3Ds, with the Euler angles and the 3D of each projection in its header.",
        ("threed-forward",),
    ),
    "msa run": Entry(
        _C + "msa_run:cli", "MSA", "Find eigenimages of images or volumes, and the coordinates along them.", ("msa-run",)
    ),
    "msa projections": Entry(
        _C + "msa_projections:cli", "MSA", "Find eigenvolumes of images that are projections, and the coordinates along them."
    ),
    "msa states": Entry(_C + "msa_states:cli", "MSA", "Tell apart the states of the images of each 3D."),
    "msa volumes": Entry(
        _C + "msa_volumes:cli", "MSA", "Make 3Ds along an eigenvolume, or along a path through the coordinates."
    ),
    "msa classify": Entry(
        _C + "msa_classify:cli", "MSA", "Classify images or volumes by their MSA coordinates.", ("msa-classify",)
    ),
    "msa plot": Entry(_C + "msa_plot:cli", "MSA", "Draw eigenimages, eigenvalues, factor maps and dendrograms."),
    "msa sum": Entry(_C + "msa_sum:cli", "MSA", "Average the members of each class.", ("msa-sum", "classum")),
    "classify2d": Entry(
        _C + "classify2d:cli",
        "Alignment",
        "Class averages from unaligned images: classification and alignment by turns.",
        ("alignment-by-classification",),
    ),
    "mra": Entry(
        _C + "mra:cli",
        "Alignment",
        "Align images to references, each to the one it resembles most.",
        ("m-r-a", "multi-reference-align", "mralign"),
    ),
    "align-parallel": Entry(_C + "align_parallel:cli", "Alignment", "Align image i to reference i.", ("alipara",)),
    "ctf": Entry(_C + "ctf:cli", "Alignment", "Correct images for the contrast transfer function.", ("ctf-correct",)),
    "align-refs": Entry(_C + "align_refs:cli", "Alignment", "Align references to one another.", ("alirefs",)),
    "info": Entry(_C + "info:cli", "Files", "Say what is in image and volume files."),
    "copy": Entry(_C + "copy:cli.images", "Images", "Copy images, with their headers.", ("copy-image", "copyim")),
    "threed-copy": Entry(_C + "copy:cli.volumes", "Volumes", "Copy volumes, with their headers."),
    "append": Entry(
        _C + "append:cli.images", "Images", "Append images to a file, which is made when missing.", ("append-image",)
    ),
    "threed-append": Entry(_C + "append:cli.volumes", "Volumes", "Append volumes to a file, which is made when missing."),
    "cut": Entry(_C + "cut:cli.images", "Images", "Cut windows out of images, or pad them.", ("cut-image", "subfile")),
    "threed-cut": Entry(_C + "cut:cli.volumes", "Volumes", "Cut windows out of volumes, or pad them.", ("threed-subfile",)),
    "blow-up": Entry(
        _C + "blow_up:cli.images", "Images", "Magnify or reduce images: other pixel size, other box.", ("blow-up-image", "blowup")
    ),
    "threed-blowup": Entry(
        _C + "blow_up:cli.volumes", "Volumes", "Magnify or reduce volumes: other pixel size, other box.", ("threed-blow-up",)
    ),
    "center": Entry(_C + "center:cli.images", "Images", "Center images.", ("center-image", "alimass", "centre")),
    "threed-center": Entry(_C + "center:cli.volumes", "Volumes", "Center volumes.", ("threed-centre",)),
    "rotate": Entry(_C + "rotate:cli.images", "Images", "Rotate and shift images.", ("rotate-image", "eq-rot")),
    "threed-rotate": Entry(_C + "rotate:cli.volumes", "Volumes", "Rotate and shift volumes."),
    "arithmetic": Entry(
        _C + "arithmetic:cli.images",
        "Images",
        "Arithmetic with the densities of images: constants, thresholds, functions, masks, formulas.",
        ("arithmetic-with-image",),
    ),
    "threed-arithmetic": Entry(
        _C + "arithmetic:cli.volumes",
        "Volumes",
        "Arithmetic with the densities of volumes: constants, thresholds, functions, masks, formulas.",
    ),
    "two-images": Entry(
        _C + "two_images:cli.images",
        "Images",
        "Combine two files of images pixel by pixel, or compare them.",
        ("two-image-operations", "twoimag"),
    ),
    "threed-two-volumes": Entry(
        _C + "two_images:cli.volumes",
        "Volumes",
        "Combine two files of volumes pixel by pixel, or compare them.",
        ("threed-two-volumes-operations",),
    ),
    "norm-variance": Entry(
        _C + "norm_variance:cli.images",
        "Images",
        "Give images mean 0 and a wanted standard deviation, whole or under a mask.",
        ("norm-variance-image", "pretreat"),
    ),
    "threed-norm-variance": Entry(
        _C + "norm_variance:cli.volumes", "Volumes", "Give volumes mean 0 and a wanted standard deviation, whole or under a mask."
    ),
    "incore": Entry(
        _C + "incore:cli.images",
        "Images",
        "Transforms, correlation functions, averages, local operations, symmetry, peaks of images.",
        ("incore-menu", "inc2dmenu"),
    ),
    "threed-menu": Entry(
        _C + "incore:cli.volumes",
        "Volumes",
        "Transforms, correlation functions, averages, local operations, symmetry, peaks of volumes.",
        ("inc3dmenu",),
    ),
    "threed-symmetry": Entry(
        _C + "threed_symmetry:cli",
        "Volumes",
        "Find the point group of volumes and its axes, with the evidence.",
        ("find-symmetry",),
    ),
    "filter": Entry(
        _C + "filter:cli",
        "Images",
        "Filter images or volumes: low-, high- and band-pass, B-factor.",
        ("threed-filter", "filter-image", "band-pass", "incband", "fft3d"),
    ),
    "auto-mask": Entry(
        _C + "auto_mask:cli",
        "Volumes",
        "Find the object and make a mask of it, in images or volumes.",
        ("automatic-mask", "threed-automatic-mask", "automask3d"),
    ),
    "excopy": Entry(
        _C + "excopy:cli",
        "Files",
        "Copy chosen images or volumes in a chosen order, with their headers.",
        ("exclusive-copy",),
    ),
    "header show": Entry(_C + "header_show:cli", "Files", "Show header words: all of one image, or some of a whole stack."),
    "header get": Entry(_C + "header_get:cli", "Files", "Print values of header words, for scripts."),
    "header set": Entry(_C + "header_set:cli", "Files", "Set header words."),
    "header wipe": Entry(_C + "header_wipe:cli", "Files", "Clear header words."),
    "header plt-out": Entry(_C + "header_plt_out:cli", "Files", "Write header words to a PLT file."),
    "header plt-in": Entry(_C + "header_plt_in:cli", "Files", "Set header words from a PLT file."),
    "header takeover": Entry(
        _C + "header_takeover:cli",
        "Files",
        "Give images the poses that stand in the headers of another file.",
        ("takeover",),
    ),
    "convert": Entry(
        _C + "convert:cli",
        "Files",
        "Convert between IMAGIC, MRC, STAR, SPIDER and EMAN2 HDF; cryoSPARC, FREALIGN and cisTEM in.",
        ("em2em",),
    ),
    "validate": Entry(_C + "validate:cli", "Files", "Check files against the rules of their format."),
    "simulate": Entry(_C + "simulate:cli", "Truth and comparison", "Simulate images with known truth from one or several 3Ds."),
    "compare": Entry(_C + "compare:cli", "Truth and comparison", "Score poses, memberships and volumes against known truth."),
    "fsc": Entry(
        _C + "fsc:cli",
        "Truth and comparison",
        "Fourier shell correlation of volumes, ring correlation of images.",
        ("fourier-shell-correlation", "f-s-c", "fourier-ring-correlation", "f-r-c"),
    ),
    "test-image": Entry(
        _C + "test_image:cli.images",
        "Truth and comparison",
        "Make test images: patterns, blobs, noise.",
        ("test-image-creation",),
    ),
    "threed-test": Entry(
        _C + "test_image:cli.volumes",
        "Truth and comparison",
        "Make test volumes: patterns, blobs with exact projections, maps of atomic models.",
    ),
    "show": Entry(_C + "show:cli", "Pictures", "Show images and volumes as a picture or as text."),
    "plot": Entry(_C + "plot:cli", "Pictures", "Plot FSC curves, orientation maps, class sizes, convergence, SCFs."),
    "report": Entry(_C + "report:cli", "Pictures", "Write the HTML report of a run, and its summary picture."),
    "warmup": Entry(_C + "warmup:cli", "Housekeeping", "Compile all kernels, so that the next commands start at once."),
}

ALIASES: dict[str, str] = {alias: name for name, entry in TABLE.items() for alias in entry.aliases}


def members(family: str) -> list[str]:
    """Second words of the commands of a family, in the table's order."""
    return [name.split(" ", 1)[1] for name in TABLE if name.startswith(family + " ")]
