"""im4d refine."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("refine")
@opt.source("src", "IMAGES", help="Class averages or images, nothing known of them.")
@opt.rundir
@opt.volumes
@opt.option("--iterations", type=types.Count(8), default=30, metavar="N", help="Most iterations.")
@opt.symmetry
@opt.option("--start", default="random", metavar="random|header|VOLUMES", help="Where to start from.")
@opt.min_images
@opt.option("--max-resolution", metavar="F", help="Limit of refinement, at most 0.65 of Nyquist: a fraction, or 12A.")
@opt.mask_radius
@opt.max_shift
@opt.option("--leave-fold-out/--no-leave-fold-out", "leave_out", default=True, help="Score images with 3Ds made without them.")
@opt.option("--over", type=types.Count(1), default=2, metavar="N", help="Start with N times as many 3Ds, merged later.")
@opt.option("--invert/--no-invert", default=False, help="Change the sign of densities: protein must be bright.")
@opt.option("--centre/--no-centre", default=True, help="Find shifts by correlation with the rotated total sum.")
@opt.ctf_weights
@opt.option("--report/--no-report", default=True, help="Write report.html and report.png.")
@opt.option("--resume", is_flag=True, help="Go on with a run that was stopped; its own settings count.")
@opt.option("--script", is_flag=True, help="Print the shell script of single commands that does the same, and stop.")
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, rundir: str, volumes: int | None, script: bool, **settings: Any) -> None:
    """Run the 4D scheme: several competing 3Ds from images of unknown orientation and membership.

    Random angles and memberships to start with; more 3Ds than wanted compete at low resolution, with noise that is
    lowered to zero; they are merged to --volumes by cross-validated score; poses are refined while the resolution
    rises, until FSC, memberships and angles are stable. Images are always scored against 3Ds made without them. With
    --start header (3Ds centred first) or VOLUMES memberships settle at low resolution before poses are refined.
    With --weigh-ctf the CTF in words 25 to 27, 101 and 102 counts all along: for single images that were not corrected.
    Both hands are possible from projections alone. RUNDIR gets volumes, halves_a, halves_b, images (the input with
    results in its headers), reprojections, summary.json, fsc.json, journal.jsonl, report.html and report.png. A run
    that was stopped goes on with --resume and gives the same bytes.

    \b
    Examples:
      im4d refine averages.hed run1 --volumes 3 --seed 1
      im4d refine averages.mrcs run2 --volumes 4 --max-resolution 15A --mask-radius 0.8
      mpiexec -n 4 im4d refine averages.hed run3 --volumes 6
      im4d refine particles.star run4 --volumes 3 --weigh-ctf
      im4d refine averages.hed run1 --resume
      im4d refine averages.hed run1 --volumes 3 --seed 1 --script > run.sh

    See also: angrec, recon, report, compare.
    """
    from imagic4d_core.errors import UsageError
    from imagic4d_core.jobs.scheme import refine as job

    if volumes is None and not settings["resume"] and settings["start"] == "random":
        raise UsageError("--volumes K is needed: how many 3Ds are wanted")
    # a run that is resumed has its own seed: none is drawn
    kwargs = run.job_kwargs("overwrite", "comm", "threads", "progress", *(() if settings["resume"] else ("seed",)))
    if script:
        options = {k: v for k, v in settings.items() if k not in ("resume", "report")}
        click.echo(job.script(job.settings(src, volumes=volumes or 1, seed=run.seed, **options)), nl=False)
        return
    run.report(job.refine(src, rundir, volumes=volumes or 1, **settings, **kwargs))
