"""im4d test-image and threed-test."""

from typing import Any

from imagic4d_cli import options as opt
from imagic4d_cli import types
from imagic4d_cli.pairs import pair
from imagic4d_cli.run import Run, pass_run

_PATTERN = types.Words(
    "blobs", "disc", "ring", "gaussian", "noise", "sinus", "ramp", "helix", "delta", "checker", "zones", "cross", "model",
    imagic={"DISK": "disc", "SINE": "sinus", "RANDOM": "noise", "POINT": "delta", "PDB": "model"},
)  # fmt: skip
_VOLUMES = ("unrelated", "model", "resolution", "use_b_factors")


@pair("test-image", "threed-test", volumes_only=_VOLUMES)
@opt.target(metavar="OUT", help="File to write.")
@opt.number
@opt.size
@opt.option("--pattern", type=_PATTERN, default="blobs", help="What to draw.")
@opt.option("--radius", type=types.RADIUS, metavar="R", help="Of disc, ring, helix; sigma of the Gaussian.")
@opt.falloff
@opt.option("--period", type=types.Real(1), metavar="PX", help="Of sinus, checker, zones (box / 8), helix (box / 2).")
@opt.axis
@opt.option("--unrelated", is_flag=True, help="Blobs: independent structures, in place of variants of one.")
@opt.option("--model", type=types.ATOMS, metavar="FILE", help="Atomic coordinates, PDB or mmCIF, for --pattern model.")
@opt.option("--resolution", type=types.FREQUENCY, metavar="F", help="Of the map of a model, such as 15A; default: four pixels.")
@opt.option("--use-b-factors", is_flag=True, help="Widen atoms by the B-factors of the file as well.")
@opt.pixel_size
@opt.seed
@opt.common
@pass_run
def cli(run: Run, dst: str, unit: str, **settings: Any) -> None:
    """[images] Make test images: patterns, blobs, noise.

    [volumes] Make test volumes: patterns, blobs with exact projections, maps of atomic models.

    disc (step, or soft with --falloff), ring, gaussian, blobs, noise (normal, sigma 1), sinus (cosine along --axis), ramp (place
    from the centre), helix, delta, checker, zones (zone plate), cross (an L that tells axes and hands apart). Sizes are
    lines,pixels[,sections]; the centre is index N // 2.

    [volumes] Blobs are sums of Gaussians, asymmetric, with detail beyond 0.6 Nyquist. Related ones, the default, share a core and
    differ by domains that are added, missing or swung; default: 3 volumes, 4 A per pixel. OUT.blobs.json holds the blobs: `im4d
    simulate` projects them exactly, without interpolation.

    [volumes] A model is the sum of its atoms (electron scattering factors, waters left out), widened so that its transform has
    fallen to 1/e at --resolution; the centre of mass goes to the centre, and the ORIGIN of an MRC file lays it on the model.

    \b
    [images] Examples:
      im4d test-image discs.hed --number 3 --size 64,80 --pattern disc --radius 0.6
      im4d test-image noise.hed --number 100 --size 128 --pattern noise --seed 1

    \b
    [volumes] Examples:
      im4d threed-test truth.hed --number 3 --size 64 --pattern blobs --seed 1
      im4d threed-test other.mrc --number 2 --unrelated --pixel-size 2.5
      im4d threed-test map.mrc --pattern model --model 1iok.pdb --resolution 15A --size 80 --pixel-size 3

    [images] See also: threed-test, simulate.

    [volumes] See also: test-image, simulate, compare, fsc.
    """
    from imagic4d_core.jobs.images.test_patterns import make_test

    kwargs = run.job_kwargs("overwrite", "comm", "threads", "progress")
    run.report(make_test(dst, unit=unit, seed=lambda: run.seed, **settings, **kwargs))
