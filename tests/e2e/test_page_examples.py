"""Examples of the pages run: on small files of the names that the examples use."""

import glob
import os
import re
import shlex
import shutil

import click
import numpy as np
import pytest

from imagic4d_cli import docgen, types
from imagic4d_cli.main import cli
from imagic4d_core import models
from imagic4d_core.geometry import euler
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import write_stack

BOX, COUNT, VOLUMES, SIZE = 64, 128, 3, 2.7
#: Names in examples that are files of volumes; others are images.
THREED = re.compile(r"vol|halves|map|^v\d|models|better|truth\.|second|third|^a\.mrc|^b\.mrc|loo|found|reference\.|turned")
IMAGE_WORDS = re.compile(r"images|averages")


def examples(name: str) -> list[list[str]]:
    """Arguments of the commands on a page, without the shell's own parts; not loops, nor mpiexec."""
    with click.Context(cli, info_name="im4d") as ctx:
        info = ctx.to_info_dict()["command"]["commands"]
        command = cli.get_command(ctx, name)
        page = docgen.Page(name, info[name], command, click.Context(command, info_name=name, parent=ctx))
    text = "\n".join(page.examples).replace("\\\n", " ")
    found = []
    for line in text.splitlines():
        words = shlex.split(line)
        end = next((k for k, word in enumerate(words) if word in ("|", ">") or word.startswith("#")), len(words))
        if "im4d" in words[:1] and "$" not in line:
            found.append(words[1:end])
    return found


def files_of(name: str, words: list[str]) -> tuple[list[str], list[str]]:
    """Input and output files of an example."""
    with click.Context(cli, info_name="im4d") as ctx:
        command = cli.get_command(ctx, name)
    found = command.make_context(name, words[len(name.split()) :], resilient_parsing=True)
    sources, targets = [], []
    for param in command.params:
        value = found.params.get(str(param.name))
        if isinstance(param.type, types.FileName) and value:
            many = value if isinstance(value, tuple) else [value]
            (targets if param.type is types.TARGET or param.name == "output" else sources).extend(many)
    return sources, targets


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Arrays that the files are made of."""
    rng = np.random.default_rng(4)
    family = models.random_family(7, VOLUMES, BOX)
    poses = Poses.blank(COUNT)
    poses.set_matrices(euler.random_rotations(rng, COUNT))
    poses.ref3d[:] = 1 + np.arange(COUNT) % VOLUMES
    poses.fold[:], poses.folds[:], poses.halfset[:] = 1 + np.arange(COUNT) % 4, 4, 1 + np.arange(COUNT) % 2
    poses.ccc3d[:], poses.confidence[:] = rng.uniform(0.5, 0.9, COUNT), 0.9
    images = np.concatenate([models.project(family[k % VOLUMES], poses.matrices()[k : k + 1], None, BOX) for k in range(COUNT)])
    images = (images + rng.normal(0, 0.5 * images.std(), images.shape)).astype(np.float32)
    h = poses.into_headers(blank_headers(COUNT, BOX, BOX, pixel_size=SIZE))
    h["DEFOCUS1"], h["DEFOCUS2"], h["VOLTAGE"], h["SPABERR"] = 12000, 11000, 300e3, 2.7
    h["CLASSNO"], h["NUMCLS"], h["OVQUAL"] = 1 + np.arange(COUNT) % 6, 8, rng.uniform(0, 1, COUNT)
    h["CCC"] = 0.5
    h["ERRAR"], h["COOSMSA"] = rng.uniform(1, 5, COUNT), rng.normal(0, 1, (COUNT, 69))
    return np.stack([models.volume(m, BOX) for m in family]).astype(np.float32), images, h


def make(name: str, world, threed: bool = False) -> None:
    """A file of this name in the current folder, if it is not there."""
    volumes, images, h = world
    bare = re.sub(r"(,\d+)+$", "", name)
    if "*" in bare:
        bare = bare.replace("*", "one")
    if any(os.path.exists(p) for p in (bare, f"{bare}.hed")):
        return
    os.makedirs(os.path.dirname(bare) or ".", exist_ok=True)
    base = os.path.basename(bare)
    if base == "mask.hed":
        write_stack(bare, np.ones((1, BOX, BOX, BOX) if threed else (1, BOX, BOX), np.float32), pixel_size=SIZE)
    elif THREED.search(base) and not IMAGE_WORDS.search(base):
        one = bare.endswith((".mrc", ".map")) and base != "volumes.mrc"
        write_stack(bare, volumes[:1] if one else volumes, pixel_size=SIZE)
    elif base == "micrograph.mrc":
        write_stack(bare, np.tile(images[0], (6, 6))[None], pixel_size=SIZE)
    else:
        write_stack(bare, images, h, pixel_size=SIZE)


#: Inputs that no example here makes: such examples run in the tests of their commands.
TABLES = (".json", ".pdb", ".plt", ".cls", ".npz", ".html")
PAR = "C PSI THETA PHI SHX SHY MAG FILM DF1 DF2 ANGAST OCC LogP SIGMA SCORE CHANGE\n"
#: Commands whose examples take no more than a second or two.
QUICK = {
    "append", "arithmetic", "convert", "copy", "excopy", "header get", "header set", "header show", "header wipe", "info",
    "norm-variance", "threed-append", "threed-arithmetic", "threed-copy", "two-images", "validate",
}  # fmt: skip
#: Those of half a minute. The examples of the other commands run in the tests of their commands and in examples/.
SLOW = {"forward", "fsc", "show", "simulate"}
COMMANDS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else []) for name in sorted(QUICK | SLOW)]


def special(name: str) -> bool:
    """Lists and tables; True where one was made."""
    if name.endswith(".par"):
        with open(name, "w", encoding="utf-8") as out:
            out.write(PAR + "".join(f"{k} 10 20 30 1 2 50000 1 12000 11000 40 100 0 1 20 0\n" for k in range(1, COUNT + 1)))
    elif name.endswith(".cs"):
        data = np.zeros(COUNT, [("blob/path", "S20"), ("blob/idx", "u4"), ("blob/psize_A", "f4"), ("alignments3D/pose", "f4", 3)])
        data["blob/path"], data["blob/idx"], data["blob/psize_A"] = b"stack.mrcs", np.arange(COUNT), SIZE
        with open(name, "wb") as out:
            np.save(out, data)
    elif name.endswith(".star"):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "w", encoding="utf-8") as out:
            out.write("data_\nloop_\n_rlnImageName\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n")
            out.write("".join(f"{k}@stack.mrcs 10 20 30\n" for k in range(1, COUNT + 1)))
    else:
        return False
    return True


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_run(name, world, im4d, tmp_path, monkeypatch):
    done = 0
    for number, words in enumerate(examples(name)):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        sources, targets = files_of(name, words)
        if any(s.endswith((".par", ".cs", ".star")) for s in sources):
            make("stack.mrcs", world)
        for source in sources:
            if not special(source) and not source.endswith(TABLES):
                make(source, world, name.startswith("threed-"))
        for target in targets:
            if re.search(r",\d+$", target):  # replaces a part of an existing file
                make(target, world)
        if any(not os.path.exists(s) for s in sources if s.endswith(TABLES)):
            continue
        arguments = [f for a in words for f in (sorted(glob.glob(a)) if a.endswith("*.mrc") else [a])]
        im4d(*arguments, code=None if name in ("validate", "compare", "chance") else 0)
        done += 1
        shutil.rmtree(folder)
        folder.mkdir()
    assert done
