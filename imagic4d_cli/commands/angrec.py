"""im4d angrec."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_MODE = types.Words(
    "single", "own", "each-to-best", "new", "add",
    imagic={
        "SINGLE_ANCHOR_SET": "single", "OWN_ANCHOR_SET": "own", "EACH_TO_BEST_ANCHOR_SET": "each-to-best", "NEW": "new",
        "C1_STARTUP": "new", "ADD": "add",
    },
)  # fmt: skip


@click.command("angrec")
@opt.source("src", "IMAGES", help="Images.")
@opt.dst_optional
@opt.option("--anchors", type=types.SOURCE, metavar="ANCHORS", help="Projections with Euler angles, or volumes.")
@opt.option("--mode", type=_MODE, default="each-to-best", help="Anchor sets compared with; new, add: common lines.")
@opt.increment
@opt.symmetry
@opt.max_shift
@opt.option("--shift-search", type=types.Words("winner", "full"), default="winner", help="Shifts with best direction, or all.")
@opt.option("--shift-range", type=types.Real(0), default=3.0, metavar="PX", help="How far trial shifts go at a time.")
@opt.amplitude_filter
@opt.option("--weighting", "weights", default="none", metavar="W", help="Weights of frequencies: none, images, auto or a file.")
@opt.option("--weighting-out", "weights_out", metavar="CSV", help="Write the weights of frequencies.")
@opt.max_frequency
@opt.option("--refine/--no-refine", default=True, help="Refine the best pose of each 3D locally.")
@opt.option("--refine-frequency", type=types.FREQUENCY, metavar="F", help="Highest frequency of the local refinement.")
@opt.mask_radius
@opt.option("--noise", type=types.Real(0), default=0.0, metavar="X", help="Annealing noise, s.d. of an image's scores.")
@opt.option("--spread", type=types.Real(0), default=0.0, metavar="X", help="Handicap of crowded view directions.")
@opt.option("--score", type=types.Words("ccc", "zscore"), default="ccc", help="Correlation, or relative to mismatches.")
@opt.option("--same-spectrum/--no-same-spectrum", default=True, help="Give all 3Ds one radial spectrum first.")
@opt.ctf_weights
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str | None, increment: float | None, **settings: Any) -> None:
    """Find Euler angles, shifts and 3D membership of images from anchor sets.

    Every image is compared with the anchors at all directions of the asymmetric triangle (--increment apart, default 5 degrees)
    and all in-plane angles, up to --max-frequency (default 0.4 of Nyquist); then the best pose of each 3D is refined locally.
    Anchors are projections with Euler angles and REF3D in their headers (im4d forward), or volumes: then all central sections.
    single: one anchor set; own: that of the image's REF3D; each-to-best: all compete, and the image takes over the 3D of the
    best. Volumes that left out a fold (recon --leave-out) compete for its images only; use them where 3Ds are made of these
    images: in any other an image finds its own noise, and a warning says so. --weighting auto weighs frequencies by how well
    images and anchors agree there; images by their spectra; or a CSV file. With --weigh-ctf anchors are seen through the CTF
    of words 25 to 27, 101 and 102 (word 93: what was corrected already). new: no anchors, but common lines with each other,
    from many starts (beyond 64 images, with those). add: common lines with --anchors, images with angles. Both want centred
    averages of one 3D and use --increment, --symmetry, --mask-radius, --max-frequency and --amplitude-filter (here 0.5); OUT
    is new; they tell what random phases reach. Either hand may come out.

    Densities are not touched. Header words written: 65 to 67 Euler angles, 51 REF3D, 57 REF3DOLD, 50 CCC3D, 105 ERRAR
    (1 - CCC3D), 80 and 81 shift still to be applied, 82 confidence, 83 margin to the second-best 3D (84), 85 error of the
    pose, 88 z-score; by new and add 109 old location.

    \b
    Examples:
      im4d recon images.hed v.hed --folds 4 --leave-out loo.hed --images-out i1.hed
      im4d angrec i1.hed i2.hed --anchors loo.hed --mode each-to-best --max-shift 6
      mpiexec -n 4 im4d angrec images.hed out.hed --anchors loo.hed --symmetry D7

    See also: forward, recon, refine.
    """
    from imagic4d_core.jobs.scheme.angrec import common_lines, reconstitute

    kwargs = run.job_kwargs() | {"increment": increment or 5.0}
    if settings["mode"] in common_lines.MODES:
        given = click.get_current_context().get_parameter_source("amplitude_filter") != click.core.ParameterSource.DEFAULT
        chosen = {name: settings[name] for name in (*common_lines.OPTIONS, *(["amplitude_filter"] if given else []))}
        run.report(common_lines.startup(src, dst, **chosen, **kwargs))
    else:
        run.report(reconstitute.angrec(src, dst, **settings, **kwargs))
