"""im4d refine."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("refine")
@opt.source("src", "IMAGES", help="Class averages or images, nothing known of them.")
@opt.rundir
@opt.volumes_or_auto
@opt.option("--iterations", type=types.Count(8), default=30, metavar="N", help="Most iterations.")
@opt.symmetry_wanted
@opt.option("--start", default="random", metavar="random|header|VOLUMES", help="Where to start from.")
@opt.option("--starts", type=types.COUNT_OR_AUTO, default="auto", metavar="auto|S", help="Random starts; auto: until they agree.")
@opt.option("--stop-after", type=types.Words("anneal", "pool"), help="One start, for im4d pool; or starts and pool.")
@opt.option("--as-prepared/--no-as-prepared", default=False, help="IMAGES come from im4d prepare: take them as they are.")
@opt.where
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
def cli(run: Run, src: str, rundir: str, volumes: int | None, stop_after: str | None, script: bool, **settings: Any) -> None:
    """Run the 4D scheme: several competing 3Ds from images of unknown orientation and membership.

    Random angles and memberships to start with; more 3Ds than wanted compete at low resolution, with noise that is
    lowered to zero. This is done from two starts; the 3Ds of both are pooled, and at most --volumes are kept: those
    that together explain the images best, repeats left out. As long as not every one was found by another start, two
    more starts are made, and each 3D kept is solved again from its images alone, up to eight starts (--starts). Then
    poses are refined while the resolution rises, until FSC, memberships and angles are stable. Images are always
    scored against 3Ds made without them. Every 3D gets a word: right (found again by independent starts), reproduced,
    not reproduced, repeats another, poor, noise. --volumes auto keeps as many 3Ds as the cross-validated score needs.
    Starts are made in C1; --symmetry is looked for in the 3Ds kept, and imposed where all of them have it. With --start
    header (3Ds centred first) or VOLUMES memberships settle at low resolution before poses are refined.
    With --weigh-ctf the CTF in words 25 to 27, 101 and 102 counts all along: for single images that were not corrected.
    --where takes some of the images, such as those of one 3D. --stop-after anneal makes one start for im4d pool. Both
    hands are possible from projections alone. RUNDIR gets volumes, halves_a, halves_b, images (the input with
    results in its headers), reprojections, summary.json, fsc.json, journal.jsonl, report.html. --resume: the same bytes.

    \b
    Examples:
      im4d refine averages.hed run1 --volumes 3 --seed 1
      im4d refine averages.mrcs run2 --volumes auto --max-resolution 15A --mask-radius 0.8
      mpiexec -n 4 im4d refine averages.hed run3 --volumes 6 --starts 12
      im4d refine particles.star run4 --volumes 1 --weigh-ctf --symmetry auto
      im4d refine run1/images.hed run5 --volumes 2 --where "ref3d == 3"
      im4d refine averages.hed run1 --resume
      im4d refine averages.hed run1 --volumes 3 --seed 1 --script > run.sh

    See also: pool, angrec, recon, report, compare.
    """
    from imagic4d_core.errors import UsageError
    from imagic4d_core.jobs.scheme import refine as job

    if volumes is None and not settings["resume"] and settings["start"] == "random":
        raise UsageError("--volumes K is needed: how many 3Ds are wanted, or auto")
    # a run that is resumed has its own seed: none is drawn
    kwargs = run.job_kwargs("overwrite", "comm", "threads", "progress", *(() if settings["resume"] else ("seed",)))
    volumes = 1 if volumes is None else volumes
    settings["stop_after"] = stop_after or ""
    if script:
        options = {k: v for k, v in settings.items() if k not in ("resume", "report")}
        click.echo(job.script(job.settings(src, volumes=volumes, seed=run.seed, **options)), nl=False)
        return
    run.report(job.refine(src, rundir, volumes=volumes, **settings, **kwargs))
