"""All examples of all pages run, in the order of their page, on small files of the names that the examples use."""

import glob
import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import click
import numpy as np
import pytest
from conftest import Result
from fake_run import fake_run, write_rundir

from imagic4d_cli import docgen, registry, types
from imagic4d_cli.main import cli
from imagic4d_core import models
from imagic4d_core.geometry import euler
from imagic4d_core.geometry.poses import Poses
from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import write_stack

SIZE = 2.7
#: Names in examples that are files of volumes; others are images.
THREED = re.compile(r"vol|halves|map|^v\d|models|better|truth\.|second|third|^a\.mrc|^b\.mrc|loo|found|reference\.|turned")
IMAGE_WORDS = re.compile(r"images|averages")


@dataclass
class Material:
    """What the examples of a command run on.

    Attributes
    ----------
    box, count, volumes : int
        Box, number of images, number of volumes.
    averages : int
        Number of images in files of class averages and those made of them; 0: as in all.
    single : str
        A file of one image.
    of_run : tuple of str
        Files copied from run1.
    before : tuple of str
        Commands that make inputs which images and volumes cannot be.
    instead : dict of str to str
        Words of examples that are meant for more images than are here, and what stands for them.
    more : str
        Options added, so that it does not take long.
    answers : bool
        The exit code is an answer: 1 is no failure.
    left_out : dict of str to str
        Beginning of an example -> why it does not run.
    """

    box: int = 64
    count: int = 128
    volumes: int = 3
    averages: int = 0
    single: str = ""
    of_run: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    instead: dict[str, str] = field(default_factory=dict)
    more: str = ""
    answers: bool = False
    left_out: dict[str, str] = field(default_factory=dict)


MATERIAL = {
    "align-parallel": Material(32, 24),
    "align-refs": Material(32, 12),
    "angrec": Material(24, 12),
    "chance": Material(32, 48, answers=True),
    "classify2d": Material(32, 60, instead={"200": "6"}, left_out={"refine": "on the page of refine"}),
    "compare": Material(
        24, 40, answers=True, before=("threed-test truth.hed --number 3 --size 24 --pattern blobs --seed 1",),
        left_out={"compare run1/images.hed averages_truth.hed --table": "tests/cli/test_truth_commands.py"},
    ),
    "header plt-in": Material(
        before=(
            "header plt-out images.hed angles.plt --option EULER",
            "header plt-out images.hed picked.plt --option INDEX --word 52;20;107",
        )
    ),
    "header takeover": Material(averages=6),
    "incore": Material(single="reference.hed"),
    "moves": Material(32, 24, answers=True),
    "mra": Material(32, 24),
    "msa classify": Material(32, 260),
    "msa plot": Material(
        32, before=("msa run images.hed msa --images-out aligned.hed", "msa classify aligned.hed classes --classes 20")
    ),
    "msa projections": Material(
        24, 96, more="--overwrite", before=("threed-test domain_24.hed --number 1 --size 24 --pattern blobs --seed 1",),
        left_out={"refine": "on the page of refine"}, instead={"domain.mrc": "domain_24.hed", "run1/images.hed": "images.hed"},
    ),
    "msa run": Material(32, 60, volumes=12),
    "msa states": Material(24, 120, instead={"better_poses.hed": "states.hed", "run1/images.hed": "images.hed"}),
    "msa sum": Material(32, before=("msa classify images.hed classes --classes 8",)),
    "msa volumes": Material(
        24, 96, before=("msa projections images.hed msa3d --eigenvolumes 2 --states 0",),
    ),
    "pool": Material(
        24, 48, answers=True, before=tuple(
            f"refine images.hed {name} --volumes 2 --iterations 8 --stop-after anneal --seed {seed}"
            for seed, name in enumerate(("run1", "run2", "run3"))
        ), left_out={"refine": "on the page of refine"}, instead={"s1": "run1", "s2": "run2"},
    ),
    "recon": Material(32, 48),
    "refine": Material(
        24, 48, more="--iterations 8 --no-report",
        left_out={"refine run1/images.hed": "the run before it, of other images, has two 3Ds: tests/cli/test_pool.py"},
    ),
    "regroup": Material(32, 48),
    "report": Material(of_run=("truth.hed", "models.hed")),
    "simulate": Material(before=("threed-test truth.hed --number 3 --size 64 --pattern blobs --seed 1",)),
    "threed-symmetry": Material(
        answers=True, left_out={"threed-symmetry run1/volumes.hed --halves": "tests/unit/test_pointgroup.py"}
    ),
    "validate": Material(answers=True),
    "warmup": Material(left_out={"warmup": "compiles all kernels: tests/cli/test_warmup.py"}),
}


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
        end = next((k for k, word in enumerate(words) if word in ("|", "||", ">") or word.startswith("#")), len(words))
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
            (targets if param.type is types.TARGET or param.name in ("output", "dendrogram") else sources).extend(many)
    return sources, targets


@cache
def world(box: int, count: int, volumes: int):
    """Arrays that the files are made of."""
    rng = np.random.default_rng(4)
    family = models.random_family(7, volumes, box)
    poses = Poses.blank(count)
    poses.set_matrices(euler.random_rotations(rng, count))
    poses.ref3d[:] = 1 + np.arange(count) % 3
    poses.fold[:], poses.folds[:], poses.halfset[:] = 1 + np.arange(count) % 4, 4, 1 + np.arange(count) % 2
    poses.ccc3d[:], poses.confidence[:] = rng.uniform(0.5, 0.9, count), 0.9
    images = np.concatenate([models.project(family[k % 3], poses.matrices()[k : k + 1], None, box) for k in range(count)])
    images = (images + rng.normal(0, 0.5 * images.std(), images.shape)).astype(np.float32)
    h = poses.into_headers(blank_headers(count, box, box, pixel_size=SIZE))
    h["DEFOCUS1"], h["DEFOCUS2"], h["VOLTAGE"], h["SPABERR"] = 12000, 11000, 300e3, 2.7
    h["CLASSNO"], h["NUMCLS"], h["OVQUAL"] = 1 + np.arange(count) % 6, 8, rng.uniform(0, 1, count)
    h["CCC"], h["NUMEIGEN"] = 0.5, 69
    h["ERRAR"], h["COOSMSA"] = rng.uniform(1, 5, count), rng.normal(0, 1, (count, 69))
    return np.stack([models.volume(m, box) for m in family]).astype(np.float32), images, h


def make(name: str, m: Material, threed: bool = False) -> None:
    """A file of this name in the current folder, if it is not there."""
    bare = re.sub(r"(,\d+)+$", "", name)
    if "*" in bare:
        bare = bare.replace("*", "one")
    if any(os.path.exists(p) for p in (bare, f"{bare}.hed", f"{bare}.cls")):
        return
    os.makedirs(os.path.dirname(bare) or ".", exist_ok=True)
    base = os.path.basename(bare)
    if base.startswith("run"):
        write_rundir(fake_run(3, 40, 24), Path(bare))
        return
    if base in m.of_run:
        for end in (".hed", ".img"):
            shutil.copy(f"run1/{base[:-4]}{end}", f"{bare[:-4]}{end}")
        return
    if base.endswith(".pdb"):
        atoms = np.random.default_rng(1).normal(0, 12, (40, 3))
        row = "ATOM  {:5d}  CA  ALA A{:4d}    {:8.3f}{:8.3f}{:8.3f}  1.00  0.00           C  \n"
        Path(bare).write_text("".join(row.format(k, k, *xyz) for k, xyz in enumerate(atoms, 1)) + "END\n")
        return
    volumes, images, h = world(m.box, m.count, m.volumes)
    if base == "mask.hed":
        write_stack(bare, np.ones((1, *[m.box] * (3 if threed else 2)), np.float32), pixel_size=SIZE)
    elif base == m.single:
        write_stack(bare, images[:1], h[:1], pixel_size=SIZE)
    elif m.averages and base.startswith(("averages", "prepared")):
        write_stack(bare, images[: m.averages], h[: m.averages], pixel_size=SIZE)
    elif THREED.search(base) and not IMAGE_WORDS.search(base):
        one = bare.endswith((".mrc", ".map")) and base != "volumes.mrc"
        write_stack(bare, volumes[:1] if one else volumes, pixel_size=SIZE)
    elif base == "micrograph.mrc":
        write_stack(bare, np.tile(images[0], (6, 6))[None], pixel_size=SIZE)
    else:
        write_stack(bare, images, h, pixel_size=SIZE)


PAR = "C PSI THETA PHI SHX SHY MAG FILM DF1 DF2 ANGAST OCC LogP SIGMA SCORE CHANGE\n"
STAR = (
    "ImageName AngleRot AngleTilt AnglePsi DefocusU DefocusV DefocusAngle Voltage SphericalAberration AmplitudeContrast "
    "DetectorPixelSize Magnification"
)


def listing(name: str, m: Material) -> bool:
    """Lists of images, and of coordinates; True where one was made."""
    count = range(1, m.count + 1)
    if name.endswith(".par"):
        rows = "".join(f"{k} 10 20 30 1 2 50000 1 12000 11000 40 100 0 1 20 0\n" for k in count)
        Path(name).write_text(PAR + rows, encoding="utf-8")
    elif name.endswith(".cs"):
        data = np.zeros(
            m.count, [("blob/path", "S20"), ("blob/idx", "u4"), ("blob/psize_A", "f4"), ("alignments3D/pose", "f4", 3)]
        )
        data["blob/path"], data["blob/idx"], data["blob/psize_A"] = b"stack.mrcs", np.arange(m.count), SIZE
        with open(name, "wb") as out:
            np.save(out, data)
    elif name == "picks.star":
        Path(name).write_text("data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n150 160\n200 180\n5 5\n", encoding="utf-8")
    elif name.endswith(".star"):
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        stack = "particles.mrcs" if name == "particles.star" else "stack.mrcs"
        make(stack, m)
        rows = "".join(f"{k}@{stack} 10 20 30 12000 11000 40 300 2.7 0.1 5 {5e4 / SIZE:.3f}\n" for k in count)
        columns = "".join(f"_rln{word}\n" for word in STAR.split())
        Path(name).write_text(f"data_\nloop_\n{columns}{rows}", encoding="utf-8")
    else:
        return False
    return True


#: Tables are made by `before`, or by an example above on the page.
TABLES = (".json", ".plt", ".cls", ".npz", ".html")


@pytest.mark.parametrize("name", sorted(registry.TABLE))
def test_examples_run(name, im4d, tmp_path, monkeypatch):
    m = MATERIAL.get(name, Material())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    shown = examples(name)
    assert shown
    for command in m.before:
        assert run(im4d, command.split(), m).exit_code == 0
    for words in shown:
        if any(" ".join(words).startswith(start) for start in m.left_out):
            continue
        arguments = [m.instead.get(word, word) for word in words] + m.more.split()
        done = run(im4d, arguments, m)
        assert done.exit_code == 0 or (done.exit_code == 1 and m.answers), f"{' '.join(arguments)}: {done.stderr}"


def run(im4d, words: list[str], m: Material) -> Result:
    """Run an example; files that it reads are made, and files that it replaces may be replaced."""
    name = " ".join(words[: 2 if f"{words[0]} {words[1]}" in registry.TABLE else 1])
    sources, targets = files_of(name, words)
    for source in sources:
        if source.endswith((".par", ".cs")):
            make("stack.mrcs", m)
        if source.startswith("run1/"):
            make("run1", m)
        if name == "moves" and source.startswith("v"):
            for half in "ab":
                make(source.replace(".hed", f"_{half}.hed"), m)
        elif not source.endswith(TABLES) and not (not os.path.exists(source) and listing(source, m)):
            make(source, m, any(THREED.search(s) and not IMAGE_WORDS.search(s) for s in sources))
    for target in targets:
        if re.search(r",\d+$", target):  # replaces a part of an existing file
            make(target, m)
        elif (os.path.exists(target) or glob.glob(f"{target}.*")) and "--resume" not in words and "--overwrite" not in words:
            words = [*words, "--overwrite"]
    words = [f for a in words for f in (sorted(glob.glob(a)) if a.endswith("*.mrc") else [a])]
    return im4d(*words, code=None)
