"""im4d ctf."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_METHOD = types.Words(
    "phase-flip", "wiener", "multiply", imagic={"PHASE_FLIPPING": "phase-flip", "FLIP": "phase-flip", "WIENER_FILTER": "wiener"}
)


@click.command("ctf")
@opt.source("src", "IMAGES", help="Images.")
@opt.dst
@opt.option("--correct-by", "correct", type=_METHOD, default="phase-flip", help="What is done to the spectra.")
@opt.option("--star", type=types.SOURCE, metavar="FILE", help="STAR file of RELION with defocus; default: the header.")
@opt.option("--noise-to-signal", type=types.Real(0, min_open=True), default=0.1, metavar="X", help="Of the Wiener filter.")
@opt.amplitude_contrast
@opt.option("--set-voltage", type=types.Real(1, 3000), metavar="KV", help="In place of word 101.")
@opt.option("--set-cs", type=types.Real(0), metavar="MM", help="In place of word 102.")
@opt.option("--again", is_flag=True, help="Images that were corrected before too.")
@opt.pixel_size
@opt.loc
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, **settings: Any) -> None:
    """Correct images for the contrast transfer function.

    phase-flip changes the sign where the CTF is negative; wiener multiplies by CTF / (CTF^2 + --noise-to-signal); multiply by the
    CTF itself. The CTF is sin(chi + asin A), positive at low frequencies for underfocus: protein stays bright where it is bright.
    Defocus comes from words 25 (along the axis of word 27), 26 (across it), or from the rows of a STAR file that name this
    stack, or from as many rows as there are images; a missing voltage or aberration from --set-voltage and --set-cs.

    Header words read: 25 to 27, 93, 101, 102, 123. Written: 25 to 27, 101, 102, and 93 CTFDONE (1 phases flipped, 2 Wiener, 3
    multiplied); images with word 93 set are refused without --again.

    \b
    Examples:
      im4d ctf particles.hed flipped.hed
      im4d ctf particles.mrcs flipped.hed --star particles.star --amplitude-contrast 0.07
      im4d ctf averages.hed sharp.hed --correct-by wiener --noise-to-signal 0.05

    See also: simulate, mra, filter.
    """
    from imagic4d_core.jobs.images.ctf import ctf_correct

    run.report(ctf_correct(src, dst, **settings, **run.job_kwargs()))
