"""im4d recon."""

from typing import Any

import click

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.run import Run, pass_run

_MEMBERSHIP = types.Words(
    "header", "all", "split", "states", "sequential", "random", "multiple-random",
    imagic={
        "HEADER_3D_MEMBERSHIP": "header", "3D_MEMBERSHIP": "header", "ALL_IN_ONE": "all", "SPLIT_3D_MEMBERSHIP": "split",
        "SEQUENTIAL_ASSIGNMENT": "sequential", "RANDOM_3D_MEMBERSHIP": "random", "MULTIPLE_RAND_ASSIGN": "multiple-random",
    },
)  # fmt: skip
_EULER = types.Words("header", "random", imagic={"ANGREC_HEADER_VALUES": "header", "RANDOM_EULER_ANGLES": "random"})
_PART = types.Real(0, 1, min_open=True)
_METHOD = types.Words("fourier", "exact-filter", imagic={"EXACT_FILTER": "exact-filter"})


@click.command("recon")
@opt.source("src", "IMAGES", help="Images with Euler angles.")
@opt.target("dst", "OUT", help="Volumes to write.")
@opt.option("--membership", type=_MEMBERSHIP, default="header", help="Where the 3D of an image comes from.")
@opt.volumes
@opt.option("--euler", type=_EULER, default="header", help="Where Euler angles come from.")
@opt.min_images
@opt.symmetry
@opt.option("--method", type=_METHOD, default="fourier", help="Direct Fourier inversion, or exact-filter back-projection.")
@opt.option("--object-size", type=_PART, default=0.8, metavar="X", help="Exact filter: object diameter, fraction of the box.")
@opt.option("--hamming", type=types.Real(), default=0.99, metavar="H", help="Low-pass: cosine edge centred at H of Nyquist.")
@opt.mask_radius
@opt.max_frequency
@opt.option("--wiener/--no-wiener", default=False, help="Weight shells by the SSNR that the half sets give.")
@opt.ctf_weights
@opt.option("--centre-3d", is_flag=True, help="Lay the centre of mass of each 3D into the box centre, by its images' shifts.")
@opt.option("--even-sizes/--no-even-sizes", default=False, help="No more than an equal share of the images in each 3D.")
@opt.option("--reprojections", type=types.TARGET, metavar="FILE", help="Write a re-projection for every image.")
@opt.option("--errors", type=types.TARGET, metavar="FILE", help="Write image minus scaled re-projection for every image.")
@opt.option("--halves", type=types.TARGET, metavar="FILE", help="Write the half sets' volumes, to FILE_a and FILE_b.")
@opt.option("--folds", type=types.Count(0), default=0, metavar="F", help="Deal the images into F (even) folds.")
@opt.option("--leave-out", type=types.TARGET, metavar="FILE", help="Write volumes made without one fold each.")
@opt.option("--images-out", type=types.TARGET, metavar="FILE", help="Write the images with the memberships and angles used.")
@opt.memory
@opt.seed
@opt.common
@pass_run
def cli(run: Run, src: str, dst: str, **settings: Any) -> None:
    """Reconstruct one 3D, or one for every 3D membership.

    Assignments: header (REF3D, word 51), all (one 3D), split (each 3D in --volumes parts, 2 by default), states (each 3D by the
    states of its images, word 108, as msa projections finds them), sequential, random, multiple-random (with replacement).
    Inactive images stay out; shifts in the header (words 80, 81) are applied. 3Ds of fewer than --min-images images are left
    out and the others renumbered. What was assigned or drawn goes into the headers of --images-out, whose densities are those
    of IMAGES (a hard link); IMAGES itself is not changed. With --weigh-ctf images count by the CTF of words 25 to 27, 101 and
    102 (word 93: what was corrected already): sum(C F) / sum(C^2). --centre-3d reconstructs twice and writes the shifts that
    centre each 3D to --images-out.

    \b
    Examples:
      im4d recon images.hed volumes.hed
      im4d recon averages.hed start.hed --membership random --volumes 3 --euler random --images-out start_images.hed
      im4d recon images.hed v.hed --folds 6 --leave-out loo.hed --halves v.hed --wiener --max-frequency 0.5
      im4d recon particles.star map.mrc --membership all --weigh-ctf --wiener --folds 2
      im4d recon images.mrcs map.mrc --membership all --method exact-filter --object-size 0.7 --symmetry D2

    See also: forward, angrec, fsc.
    """
    from imagic4d_core.jobs.scheme.recon.reconstruct import recon

    run.report(recon(src, dst, **settings, **run.job_kwargs()))
