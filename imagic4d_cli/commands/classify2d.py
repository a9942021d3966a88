"""im4d classify2d."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("classify2d")
@opt.source("src", "IMAGES", help="Single images, nothing known of them.")
@opt.rundir
@opt.classes_if_new
@opt.option("--iterations", type=types.Count(1), default=8, metavar="N", help="Classifications at most.")
@opt.factors
@opt.mask_radius
@opt.max_shift
@opt.ignore
@opt.ignore_worst
@opt.option("--correct-ctf/--no-correct-ctf", default=True, help="Flip phases first, where the headers hold a defocus.")
@opt.mirror
@opt.option("--report/--no-report", default=True, help="Write the report and its picture.")
@opt.option("--resume", is_flag=True, help="Go on with a run that was stopped; its own settings count.")
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, rundir: str, classes: tuple[float, ...] | None, **settings: Any) -> None:
    """Class averages from unaligned images: classification and alignment by turns.

    Centred images are classified by MSA as they lie; the class averages become the references of a multi-reference alignment
    of the original images; the aligned images are classified anew, until the classes are stable. Nothing is assumed about what
    the images show, and nobody chooses references.

    RUNDIR gets averages (NUMCLS, CLASSNO in the headers), images (aligned, class in word 108, moves in words 116 to 118 and 92;
    header takeover brings what is found with the averages back to them), summary.json, journal.jsonl, report.html and
    averages.png. A run that was stopped goes on with --resume and gives the same bytes.

    \b
    Examples:
      im4d classify2d particles.hed classes --classes 200 --seed 1
      mpiexec -n 4 im4d classify2d particles.star classes --classes 500 --max-shift 0.2
      im4d classify2d particles.hed classes --resume
      im4d refine classes/averages.hed run1 --volumes 3

    See also: mra, msa run, msa classify, msa sum, header takeover, refine.
    """
    from imagic4d_core.errors import UsageError
    from imagic4d_core.jobs.align.classify2d import classify2d

    if not settings["resume"]:
        if classes is None or len(classes) != 1 or classes[0] != int(classes[0]):
            raise UsageError("--classes N is needed: one whole number")
        settings["classes"] = int(classes[0])
    # a run that is resumed has its own seed: none is drawn
    kwargs = run.job_kwargs("overwrite", "comm", "threads", "progress", *(() if settings["resume"] else ("seed",)))
    run.report(classify2d(src, rundir, **settings, **kwargs))
