"""angrec, classify2d and refine under mpiexec: the same bytes for 1, 2 and 3 ranks, and for 1 and 2 threads."""

import shutil

import pytest
from compare import same_bytes

from imagic4d_cli import registry

pytestmark = pytest.mark.mpi

# the outputs of each come out as {out}; MATERIAL lies in the current folder
COMMANDS = {
    "angrec": "angrec images.hed {out}.hed --anchors anchors.hed --mode each-to-best --max-shift 2",
    "angrec auto": "angrec images.hed {out}.hed --anchors anchors.hed --max-shift 2 --weighting auto --weighting-out {out}.csv",
    "angrec new": "angrec images,1,9 {out}.hed --mode new --increment 20 --seed 2",
    "classify2d": "classify2d images.hed {out} --classes 6 --iterations 3 --factors 8 --seed 4",
    "refine": "refine images.hed {out} --volumes 2 --iterations 8 --starts 2 --seed 4",
}
NAMES = [name for name in COMMANDS if name.split()[0] in registry.TABLE]


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """Two small 3Ds, images of them, anchors; made once."""
    from imagic4d_core.jobs.scheme import forward
    from imagic4d_core.jobs.truth import modelling, simulate

    folder = tmp_path_factory.mktemp("material")
    modelling.threed_test(folder / "volumes.hed", number=2, size=24, seed=1)
    simulate.simulate(folder / "volumes.hed", folder / "images.hed", images=70, snr=2.0, shift_sigma=1.0, seed=1)
    forward.forward(folder / "volumes.hed", folder / "anchors.hed", increment=30.0)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes(name, mpiexec, im4d, material, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")  # headers hold the time of their making
    made = []
    for ranks, threads in ((0, 1), (2, 2), (3, 1)):
        folder = tmp_path / "place"  # always the same: reports name their input
        shutil.copytree(material, folder)
        args = [*COMMANDS[name].format(out="new").split(), "--threads", str(threads)]
        if ranks:
            done = mpiexec(ranks, "-m", "imagic4d_cli.main", *args, cwd=folder, timeout=400)
            assert done.returncode == 0, done.stderr
        else:
            monkeypatch.chdir(folder)
            im4d(*args)
        made.append(folder.rename(tmp_path / str(ranks)))
    assert len(list(made[0].rglob("*"))) > len(list(material.rglob("*")))
    for folder in made[1:]:
        same_bytes(made[0], folder)
    # the input is named as seen from where the run was started; only what a resumed run needs holds the whole path
    whole = str(tmp_path / "place").encode()
    assert {p.name for p in made[0].rglob("*") if p.is_file() and whole in p.read_bytes()} <= {"run.json"}
