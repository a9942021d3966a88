"""im4d excopy."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run


@click.command("excopy")
@opt.src
@opt.dst
@opt.option(
    "--operation", type=types.Words("extract", "exclude", "select", "sort", "reverse", "randex"), required=True,
    help="What to do with the locations.",
)  # fmt: skip
@opt.counted
@opt.loc
@opt.option("--plt", type=types.FileName((".plt",)), metavar="FILE", help="Locations from the first column of a PLT file.")
@opt.where
@opt.option("--parity", type=types.Words("all", "odd", "even"), default="all", help="Only odd or even locations.")
@opt.option("--by", metavar="WORD", help="Header word to sort by; or ANGULAR_ERROR (105), OVERALL (115).")
@opt.option("--down", is_flag=True, help="Sort from large to small.")
@opt.option("--keep", type=types.Count(0), metavar="N", help="Stop after the first N; 0: all.")
@opt.seed
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str, operation: str, **settings: Any) -> None:
    """Copy chosen images or volumes in a chosen order, with their headers.

    --operation says what becomes of the locations that --loc, --plt, --where and --parity leave (all by default): extract
    copies them as given; exclude copies all others; select needs a condition (--where) on header words, LOC is the location;
    sort orders them by a header word, small to large, equal ones as they stand; reverse turns the order round; randex
    shuffles them. --keep N stops after N, so sort keeps the best and randex a random choice.

    OUTPUT,10 replaces from location 10 on in an existing file: images replace images, or sections of volumes (2D locations),
    and volumes replace volumes. The file changes in one step or not at all. Word 109 (LOCOLD) gets the location in INPUT; all
    other words travel along. Densities of one type and format are copied byte by byte.

    \b
    Examples:
      im4d excopy images.hed some.hed --operation extract --loc 3-5
      im4d excopy images.hed my_3d,10 --operation extract --loc 3-5
      im4d excopy images.hed good.hed --operation select --where "ccc > 0.3 and ref3d == 2"
      im4d excopy averages.hed best.hed --operation sort --by ANGULAR_ERROR --keep 100
      im4d excopy images.hed half1.hed --operation extract --parity odd
      im4d excopy images.hed sample.hed --operation randex --keep 1000 --seed 1

    See also: copy, threed-copy, header show.
    """
    from imagic4d_core.jobs.files.selecting import excopy

    seed = run.seed if operation == "randex" else None
    run.report(excopy(src, dst, operation=operation, seed=seed, **settings, **run.job_kwargs("overwrite", "progress")))
