"""im4d copy and threed-copy."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run


@pair("copy", "threed-copy")
@opt.src
@opt.dst
@opt.loc
@opt.common_serial
@pass_run
def cli(run: Run, src: str, dst: str, loc: Any, unit: str) -> None:
    """Copy {images}, with their headers.

    [images] Locations count images, and the sections of volumes one by one; without locations a file of volumes stays one.
    NAME,3,5 and --loc 3-5,9,20- select.

    [volumes] As copy, but locations count volumes: NAME,3,5 and --loc 3-5,9,20- select them.

    With OUTPUT,10 {images} from location 10 on of an existing file are replaced, or the file grows at its end; it changes in one
    step or not at all. The output's extension decides its format: none, .hed: IMAGIC; .mrc, .mrcs, .map: MRC, with poses in a
    STAR file beside it. Within one format and type densities are copied byte by byte.

    \b
    [images] Examples:
      im4d copy particles.hed good.hed --loc 3-5,9,20-
      im4d copy particles,1,100 first100
      im4d copy new.hed particles,10

    \b
    [volumes] Examples:
      im4d threed-copy volumes.hed second.mrc --loc 2
      im4d threed-copy better.hed volumes,3

    [images] See also: threed-copy, convert, info.

    [volumes] See also: copy, convert, info.
    """
    from imagic4d_core.jobs.files.copying import copy, copy_volumes

    run.report((copy if unit == "images" else copy_volumes)(src, dst, loc=loc, **run.job_kwargs()))
