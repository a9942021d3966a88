"""im4d msa classify."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("msa classify")
@opt.source("src", "IMAGES", help="Images or volumes that went through msa run.")
@opt.target("root", "ROOT", "Root name of the files to write.")
@opt.classes
@opt.factors
@opt.option("--weights", type=types.NUMBERS, metavar="W,W,...", help="Multiply the first coordinates; 0 leaves a factor out.")
@opt.ignore
@opt.option("--moving/--no-moving", default=True, help="Move elements between classes after the tree is cut.")
@opt.option("--tree", type=types.FileName((".npz",)), metavar="FILE", help="Cut this tree of an earlier call again.")
@opt.option("--dendrogram", type=types.FileName((".png",)), metavar="FILE", help="Picture of the top of the tree (.png).")
@opt.option("--as-membership", is_flag=True, help="The classes are 3D memberships (word 51) too: for recon.")
@opt.option("--images-out", type=types.TARGET, metavar="FILE", help="Write class numbers here in place of into IMAGES.")
@opt.common
@pass_run
def cli(run: Run, src: str, root: str, **settings: Any) -> None:
    """Classify images or volumes by their MSA coordinates.

    Variance-oriented hierarchical ascendant classification (Ward): the two classes whose merging adds the least variance are
    merged, from single images up; exact, for any number of images. The tree is cut at each number of classes; then images
    move to the class where they add the least variance, until none does. With --ignore the per cent of the images that stay
    single longest are in no class and set inactive (word 58).

    Written are ROOT.cls (members of each class, best first), ROOT.lis (classes sorted by their qualities), ROOT.plt (location,
    class, squared distance from its centre), with several numbers ROOT_N.cls and so on; and ROOT.npz, the tree, which
    --tree cuts again. The class number goes into word 108 of the headers of IMAGES, or of --images-out, and with --as-membership
    into REF3D (51), so that recon makes a 3D of every class. Coordinates are read from words 131 to 199 and further records.

    \b
    Examples:
      im4d msa classify images.hed classes --classes 50
      im4d msa classify images.hed classes --classes 200,100,50 --factors 20 --ignore 15 --dendrogram tree.png
      im4d msa classify states.hed states --classes 4 --factors 3 --as-membership
      im4d msa classify images.hed again --classes 80 --factors 20 --ignore 15 --tree classes.npz

    See also: msa run, msa sum, header takeover.
    """
    from imagic4d_core.jobs.msa.classify import msa_classify

    run.report(msa_classify(src, root, **settings, **run.job_kwargs()))
