"""im4d auto-mask."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_MODE = types.Words("do-it-all", "refine-threshold")
_POSITIVE = types.Real(0, min_open=True)


@click.command("auto-mask")
@opt.source("src", "INPUT", help="Images or volumes; NAME,3,5 selects locations 3 to 5.")
@opt.target("dst", "MASK", "The masks, 0 to 1: one for each image or volume.")
@opt.option("--mode", type=_MODE, default="do-it-all", help="Make the modulation map and cut it; or cut a given one.")
@opt.option("--modulation", type=types.TARGET, metavar="FILE", help="Write the modulation map.")
@opt.option("--from-modulation", type=types.SOURCE, metavar="FILE", help="The map that refine-threshold cuts.")
@opt.option("--masked", type=types.TARGET, metavar="FILE", help="Write the objects times their masks.")
@opt.option("--threshold", type=types.Real(0), metavar="T", help="Threshold in s.d. of the background; default: found.")
@opt.option("--percent", type=_POSITIVE, metavar="P", help="Find the threshold that has this percentage of the box inside.")
@opt.option("--mass", type=_POSITIVE, metavar="KDA", help="Find the threshold for a protein of this mass, kDa.")
@opt.option("--contrast", type=types.Words("auto", "bright", "dark", "both"), default="auto", help="Which deviations count.")
@opt.option("--low-pass", type=types.FREQUENCY, metavar="F", help="Noise filter before squaring; default: from the data.")
@opt.option("--high-pass", type=types.FREQUENCY, metavar="F", help="Take an uneven background away; about 2 / object size.")
@opt.option("--sharpness", type=types.FREQUENCY, metavar="F", help="Low-pass after squaring; default: from the data.")
@opt.option("--components", type=types.Count(0), default=1, metavar="N", help="Connected regions to keep; 0: all.")
@opt.option("--fill-holes/--keep-holes", default=True, help="Fill holes in the mask.")
@opt.option("--extend", type=types.RADIUS, default=0.0, metavar="PX", help="Grow the region; below 1 of half the box.")
@opt.falloff
@opt.counted
@opt.loc
@opt.pixel_size
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, fill_holes: bool, **settings: Any) -> None:
    """Find the object and make a mask of it, in images or volumes.

    The object is band-passed, squared and low-passed: its modulation (local variance), in standard deviations of the
    background. What is above a threshold and hangs together is the region; it is filled, grown by --extend and given a soft
    edge of --falloff pixels (default 3). By default the data decide how much is smoothed, not finer than 15 A where the pixel
    size is known, and where the threshold lies. --percent (as in IMAGIC) and --mass set the size of the region instead. Look
    at the result, then cut again with --mode refine-threshold from the modulation map that was written.

    Header words travel along from INPUT; statistics are those of the mask. A mask found in the data must not be used to judge
    the FSC of the same data without correction (im4d fsc corrects).

    \b
    Examples:
      im4d auto-mask volumes.hed masks.hed --modulation mod.hed --masked masked.hed
      im4d auto-mask volumes.hed again.hed --mode REFINE_THRESHOLD --from-modulation mod.hed --percent 12
      im4d auto-mask map.mrc mask.mrc --mass 800 --extend 3 --falloff 6
      im4d auto-mask averages.hed masks.hed --what images

    See also: threed-arithmetic, fsc, recon, show.
    """
    from imagic4d_core.jobs.images.automasking import auto_mask

    run.report(auto_mask(src, dst, fill=fill_holes, **settings, **run.job_kwargs()))
