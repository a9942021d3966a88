"""im4d append and threed-append."""

from imagic4d_cli import options as opt
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run


@pair("append", "threed-append")
@opt.srcs
@opt.target("dst", "DESTINATION", "File that grows; made when it is not there.")
@opt.common_serial
@pass_run
def cli(run: Run, srcs: tuple[str, ...], dst: str, unit: str) -> None:
    """Append {images} to a file, which is made when missing.

    [images] Images come behind the last one of DESTINATION, in the order of the inputs; NAME,3,5 takes locations 3 to 5. Sections
    of volumes may be appended to images; to a file of volumes come whole volumes only.

    [volumes] Volumes come behind the last one of DESTINATION, in the order of the inputs; NAME,2,3 takes volumes 2 and 3.

    Headers travel along; location numbers and counts (words 1, 2, 61, 62) are set right in all records. DESTINATION keeps its
    format and density type. It changes in one step, when all is written, or not at all; with --overwrite it is made new, of the
    inputs alone. {Images} of another size or pixel size are refused.

    \b
    [images] Examples:
      im4d append session2.hed session3.mrcs all.hed
      im4d append particles,1,100 all.hed

    \b
    [volumes] Examples:
      im4d threed-append second.mrc third.mrc volumes.hed
      im4d threed-append volumes_b,2 volumes.hed

    [images] See also: threed-append, copy.

    [volumes] See also: append, threed-copy.
    """
    from imagic4d_core.jobs.files.appending import append

    run.report(append(srcs, dst, unit=unit, **run.job_kwargs()))
