"""All options and arguments of the toolkit, each declared once: one name, one meaning, one type, one default.

A command stacks what it needs above ``@pass_run``. `seed`, `common`, `common_serial` and `reading` do not show up in its
signature: they fill the run object, which passes them on by ``run.job_kwargs()``.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from imagic4d_cli import types
from imagic4d_cli.run import Run

F = TypeVar("F", bound=Callable[..., Any])
Decorator = Callable[[F], F]

_declared: set[str] = set()


def option(*names: str, **attrs: Any) -> Decorator:
    """`click.option` that shows its default and reads ``IM4D_<NAME>`` from the environment."""
    long = next(n for n in names if n.startswith("--")).partition("/")[0].removeprefix("--")
    _declared.add(long)
    attrs.setdefault("show_default", True)
    attrs.setdefault("envvar", "IM4D_" + long.replace("-", "_").upper())
    return click.option(*names, **attrs)


def source(name: str = "src", metavar: str = "INPUT", help: str | None = None, **attrs: Any) -> Decorator:
    """An input file (any format, ``NAME,3,5`` selects locations)."""
    return click.argument(
        name, metavar=metavar, type=types.SOURCE, help=help or "Input file; NAME,3,5 selects locations 3 to 5.", **attrs
    )


def target(name: str = "dst", metavar: str = "OUTPUT", help: str | None = None, **attrs: Any) -> Decorator:
    """An output file (format by its extension, IMAGIC without one)."""
    return click.argument(name, metavar=metavar, type=types.TARGET, help=help or "Output file; format by extension.", **attrs)


src = source()
dst = target()
srcs = source("srcs", "INPUT...", nargs=-1, required=True)
runs = source("runs", "RUN...", "Runs whose 3Ds compete: folders, images with poses, or volumes.", nargs=-1, required=True)
rundir = target("rundir", "RUNDIR", "Folder for the run; made when it is not there.")


def _assignments(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """``[OUTPUT] WORD=VALUE...``: what stands at the place of the output may be an assignment already."""
    first = ctx.params.get("dst")
    if first is not None and "=" in first and "/" not in first.partition("=")[0]:
        ctx.params["dst"] = None
        return (first, *value)
    return value


assignments = click.argument(
    "assignments", metavar="WORD=VALUE...", nargs=-1, callback=_assignments, help="What to set; VALUE may be a formula of words."
)
dst_optional = target("dst", "[OUTPUT]", "Output; without it the headers of the input are replaced.", required=False)


def _set(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if not ctx.resilient_parsing:
        ctx.ensure_object(Run).set(ctx, param, value)
    return value


def _common(*names: str, **attrs: Any) -> Decorator:
    return option(*names, expose_value=False, callback=_set, **attrs)


overwrite = _common("--overwrite", is_flag=True, help="Replace outputs that exist.")
dry_run = _common("--dry-run", is_flag=True, help="Say what would be read, written and replaced; change nothing.")
json = _common("--json", is_flag=True, help="Print the result as one JSON document.")
threads = _common("--threads", type=types.Count(0), metavar="N", help="Threads in a rank; default: its share of the cores.")
mpi = _common("--mpi/--no-mpi", default=None, help="Use MPI, or not; default: when started by a launcher with several ranks.")
verbose = _common("-v", "--verbose", count=True, show_default=False, help="Say more on stderr; twice: still more.")
quiet = _common("-q", "--quiet", count=True, show_default=False, help="Say less.")
debug = _common("--debug", is_flag=True, help="Show the traceback of an error.")
record = _common("--record/--no-record", help="Write the full record of this run beside the output, as NAME.im4d.json.")
seed = _common("--seed", type=types.Count(0), metavar="S", help="Seed of the random numbers; drawn and reported when absent.")


def stack(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, in the order given."""

    def wrap(func: F) -> F:
        for decorator in reversed(decorators):
            func = decorator(func)
        return func

    return wrap


reading = stack(json, verbose, quiet, debug)
"""For commands that write nothing."""
common_serial = stack(overwrite, dry_run, json, record, threads, verbose, quiet, debug)
"""For commands that write, without MPI."""
common = stack(overwrite, dry_run, json, record, threads, mpi, verbose, quiet, debug)
"""For commands that write, with MPI."""

# selection and sizes
loc = option("--loc", type=types.LOCATIONS, metavar="LIST", help="Locations to use, such as 3-5,9,20- (from 1).")
pixel_size = option("--pixel-size", type=types.PIXEL_SIZE, metavar="A", help="Pixel size in ångström.")
size = option("--size", type=types.SIZES, default="64", metavar="L[,P[,Z]]", help="Box: lines, pixels, sections, or all alike.")
number = option("--number", type=types.Count(1), metavar="N", help="How many to make.")
volumes = option("--volumes", type=types.CountOrAuto(False), metavar="K", help="Number of 3Ds.")
volumes_or_auto = option(
    "--volumes", type=types.COUNT_OR_AUTO, metavar="K|auto", help="Number of 3Ds, at most; auto: as many as are needed."
)
min_images = option("--min-images", type=types.Count(0), default=0, metavar="N", help="Leave out 3Ds of fewer images.")

counted = option(
    "--what", type=types.Words("images", "volumes"), help="What is copied, changed or counted; default: volumes of such a file."
)
where = option("--where", metavar="EXPR", help="Only those whose header words fulfil this, such as 'ccc > 0.3 and ref3d == 2'.")
words = option("--word", "words", multiple=True, metavar="LIST", help="Header words by name or number: REF3D, 116;117;118.")

word_names = click.argument("words", metavar="WORD...", nargs=-1, required=True, help="Header words by name or number.")
words_to_wipe = option(
    "--word", "words", multiple=True, required=True, metavar="LIST", help="Groups and words: ALL, SHIFT, EULER, MSA, THREED, 104."
)
plt_option = option(
    "--option", type=types.Words(
        "euler", "shift", "msa", "threed", "index",
        imagic={"MSA/CLASSIFICATION": "msa", "CLASSIFICATION": "msa", "INDEX/LABEL": "index", "LABEL": "index"},
    ), default="euler", help="Which words: of Euler angles, shifts, classes, 3Ds, or those of --word.",
)  # fmt: skip
memory = option(
    "--memory", type=types.Real(0, min_open=True), metavar="GIB",
    help="Memory of a rank for sums, in GiB: with less, images are read more often. Default: half the node's over its ranks.",
)  # fmt: skip
locations = option("--locations/--no-locations", default=None, help="Location numbers in the first column of the PLT file.")

# geometry
symmetry = option(
    "--symmetry", type=types.SYMMETRY, default="C1", metavar="G",
    help="Point group, axes as RELION's: C1, C4, D3, T, O, I; D3Y, TZ3, T222, I1 to I4 name other settings.",
)  # fmt: skip
symmetry_or_auto = option(
    "--symmetry", type=types.SYMMETRY_OR_AUTO, default="auto", metavar="G|auto", help="Point group to look for; auto: any."
)
symmetry_wanted = option(
    "--symmetry", type=types.SYMMETRY_OR_AUTO, default="C1", metavar="G|auto",
    help="Point group looked for in the 3Ds, and imposed where they have it; auto: any.",
)  # fmt: skip
increment = option("--increment", type=types.Real(0, 90, min_open=True), metavar="DEG", help="Angular increment, degrees.")
max_shift = option(
    "--max-shift", type=types.RADIUS, metavar="PX", help="Largest shift searched, in pixels; below 1 a fraction of half the box."
)
mask_radius = option("--mask-radius", type=types.RADIUS, metavar="R", help="Mask radius in pixels; below 1 of half the box.")
as_text = option("--text", is_flag=True, help="Text with colours, even where stdout is not a terminal.")
colour = option("--colour/--no-colour", default=None, help="Colours in the text, or plain ASCII greys; default: on a terminal.")
axis = option("--axis", type=types.Words("x", "y", "z"), default="y", help="Along lines (x), pixels (y) or sections (z).")
falloff = option(
    "--falloff", type=types.RADIUS, metavar="W", help="Width of a mask's soft edge beyond the radius; units as there."
)
mask_file = option("--mask", type=types.SOURCE, metavar="FILE", help="Mask, 0 to 1, of the same box.")
max_frequency = option(
    "--max-frequency", type=types.FREQUENCY, metavar="F", help="Highest frequency used: fraction of Nyquist, or 12A in ångström."
)
amplitude_filter = option(
    "--amplitude-filter", type=types.Real(0, 1), default=0.0, metavar="P", help="F |F|^-P; 0.5 is the ASQ filter."
)
box = option("--box", type=types.SIZES, metavar="L[,P[,Z]]", help="Box: lines, pixels, sections; one number: all sides.")
fill = option(
    "--fill", type=types.FILL, default="edge", metavar="edge|mean|D",
    help="Of pixels from outside: mean of the outermost pixels, mean of all, or a density.",
)  # fmt: skip
interpolation = option(
    "--interpolation", default="spline", help="Cubic B-spline, linear, next pixel, or Fourier shifts of lines.",
    type=types.Words("spline", "bilinear", "nearest", "fourier", imagic={"SINC": "fourier", "SMITH": "spline"}),
)  # fmt: skip

# alignment in the plane
_SEARCH = types.Words(
    "together", "rotation-first", "translation-first", "rotation", "translation",
    imagic={"ALL": "together", "BOTH (ROT AND TRANS)": "together", "BOTH": "together", "ROTATIONAL": "rotation",
            "TRANSLATIONAL": "translation"},
)  # fmt: skip
correlation = option(
    "--correlation", type=types.Words("ccf", "mcf"), default="ccf", help="Plain, or with square roots of the amplitudes (MCF)."
)
from_originals = option("--from-originals", type=types.SOURCE, metavar="FILE", help="Images before the moves of 116 to 118.")
amplitude_contrast = option(
    "--amplitude-contrast", type=types.Real(0, 1), default=0.1, metavar="A", help="Amplitude contrast of the CTF."
)
ctf_weights = stack(
    option("--weigh-ctf/--no-weigh-ctf", default=False, help="Weigh images by their CTF (words 25 to 27)."), amplitude_contrast
)
"""Whether the CTF in headers counts."""
rounds_in_turn = option("--iterations", type=types.Count(1), default=1, metavar="N", help="Rounds, when searched in turn.")
how_aligned = stack(
    option("--search", type=_SEARCH, default="together", help="Rotation and shift at once, in turn, or one alone."),
    option("--run-shift", type=types.RADIUS, metavar="PX", help="Largest shift in this run; unit as --max-shift."),
    option("--rotation-range", type=types.NUMBERS, default="-180,180", metavar="A,B", help="Rotation in all, degrees."),
    option("--run-range", type=types.NUMBERS, default="-180,180", metavar="A,B", help="Rotation in this run, degrees."),
    option("--radii", type=types.NUMBERS, default="0,0.9", metavar="R1,R2", help="Radii compared; below 1 of half the box."),
    increment,
    max_frequency,
    option("--fine/--no-fine", default=True, help="Refine to fractions of a pixel and a degree."),
    option("--fine-frequency", type=types.FREQUENCY, metavar="F", help="Highest frequency of that refinement."),
    option("--too-far", type=types.Words("leave", "limit"), default="leave", help="Beyond the limit: unshifted, or best within."),
)
"""How references are compared."""
alignment = stack(
    from_originals,
    how_aligned,
    ctf_weights,
)
"""How images are aligned to references."""

# classification
classes = option(
    "--classes", type=types.NUMBERS, required=True, metavar="N[,N...]", help="Numbers of classes; headers get the first."
)
classes_if_new = option("--classes", type=types.NUMBERS, metavar="N", help="Number of classes; a resumed run has its own.")
factors = option("--factors", type=types.Count(1), default=15, metavar="N", help="Number of eigenimages used.")
ignore = option(
    "--ignore", type=types.Real(0, 100, max_open=True), default=0.0, metavar="PCT", help="Per cent of images to ignore."
)
ignore_worst = option(
    "--ignore-worst", type=types.Real(0, 100, max_open=True), default=0.0, metavar="PCT",
    help="Per cent of the members of each class to leave out.",
)  # fmt: skip
mirror = option("--mirror/--no-mirror", default=True, help="Mirrored images too.")
mirror_if_asked = option("--mirror/--no-mirror", default=False, help="Mirrored references too.")

# simulated averages
AVERAGES = ("members", "view_spread", "jitter", "b_factor", "background", "mixed", "junk")
"""What `simulated_averages` declares beside the flag."""
_share = types.Real(0, 1)
simulated_averages = stack(
    option("--averages", is_flag=True, help="Make class averages; --snr is theirs, 1 by default."),
    option("--class-size", "members", metavar="LOW-HIGH", help="Images in an average; default: 10-40."),
    option("--view-spread", type=types.Real(0), metavar="DEG", help="Their views, s.d. about each axis; default: 5."),
    option("--jitter", type=types.Real(0), metavar="PX", help="Their shifts, s.d. in pixels; default: 1."),
    option("--envelope", "b_factor", metavar="LOW,HIGH", help="B of their envelopes, square ångström; default: 200,400."),
    option("--background", type=types.Real(0), metavar="X", help="Background's s.d. over that of signal; default: 0.5."),
    option("--mixed", type=_share, metavar="X", help="Share of averages with members of two 3Ds; default: 0.05."),
    option("--junk", type=_share, metavar="X", help="Share of averages that show no particle; default: 0.05."),
)
"""Class averages with known truth."""

SHARED = frozenset(_declared)
"""Names of the options declared in this module: the keys allowed at the top level of im4d.toml. Keep this line last."""
