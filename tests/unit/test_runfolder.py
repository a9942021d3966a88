"""Folders of runs: replaced safely, worked on by one run at a time, resumed only with the images they began with."""

import multiprocessing
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from imagic4d_core.errors import InputError, MismatchError, OutputError
from imagic4d_core.io.stack import write_stack
from imagic4d_core.jobs import runfolder
from imagic4d_core.parallel import SERIAL
from tests import killing
from tests.imagic_files import pattern


@dataclass
class Settings:
    images: str
    number: int


def _entry(it, results, journal):
    return {"name": it.name}


def work(folder, src, number, *, resume=False, overwrite=False, fail=None, iterations=2):
    """A run whose iterations do nothing; `fail` is raised in iteration `number` of its pair."""

    def plan():
        for k in range(iterations):
            if fail is not None and fail[0] == k:
                raise fail[1]
            (folder / f"work/it{k}.txt").write_text(str(number))
            yield runfolder.Iteration(f"it{k}", "x", [])

    s = runfolder.opened(
        folder, SERIAL, resume, Settings, lambda: Settings(str(src), number), overwrite, "refine", str(src)
    )  # fmt: skip
    with runfolder.removed_if_useless(folder, resume):
        runfolder.loop(plan(), folder, entry=_entry, keep=[], total=2, comm=SERIAL, threads=1, progress=None)
        (folder / "result").write_text(str(s.number))


@pytest.fixture
def src(tmp_path):
    write_stack(tmp_path / "a.hed", pattern(3, 8, 8))
    return tmp_path / "a.hed"


def hidden(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def test_a_new_run_takes_the_place_of_the_old(tmp_path, src):
    work(tmp_path / "run", src, 1)
    with pytest.raises(OutputError, match="exists and is not empty"):
        work(tmp_path / "run", src, 2)
    assert (tmp_path / "run/result").read_text() == "1"
    work(tmp_path / "run", src, 2, overwrite=True)
    assert (tmp_path / "run/result").read_text() == "2"
    assert hidden(tmp_path) == []


@pytest.mark.parametrize(
    "error", [InputError("x"), MismatchError("x"), OutputError("x"), KeyboardInterrupt(), ZeroDivisionError()]
)
def test_a_refused_run_leaves_the_old_one(tmp_path, src, error):
    work(tmp_path / "run", src, 1)
    with pytest.raises(type(error)):
        work(tmp_path / "run", src, 2, overwrite=True, fail=(0, error))
    assert (tmp_path / "run/result").read_text() == "1"
    assert hidden(tmp_path) == []
    with pytest.raises(type(error)):  # one that has results stays, to be resumed
        work(tmp_path / "run", src, 3, overwrite=True, fail=(1, error))
    assert not (tmp_path / "run/result").exists()
    work(tmp_path / "run", src, 0, resume=True)
    assert (tmp_path / "run/result").read_text() == "3"


def test_other_folders_are_not_overwritten(tmp_path, src):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/data").write_text("precious")
    with pytest.raises(OutputError, match="is not a folder of refine"):
        work(tmp_path / "mine", src, 1, overwrite=True)
    assert (tmp_path / "mine/data").read_text() == "precious"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_every_call(tmp_path, src, monkeypatch):
    """A run that replaces another, killed anywhere: the folder holds the old one, or the new one to go on with."""
    work(tmp_path / "fresh", src, 1)
    monkeypatch.setattr(killing, "CALLS", (*killing.CALLS, "scandir"))
    calls = killing.run_function(lambda: work(tmp_path / "count", src, 1) or work(tmp_path / "count", src, 2, overwrite=True))[1]
    ends = set()
    for at in range(calls):
        folder = tmp_path / "run"
        shutil.copytree(tmp_path / "fresh", folder)
        status, _ = killing.run_function(lambda folder=folder: work(folder, src, 2, overwrite=True), at)
        if status == 0:
            shutil.rmtree(folder)
            break
        work(folder, src, 0, resume=True)
        ends.add((folder / "result").read_text())
        assert hidden(tmp_path) == []
        shutil.rmtree(folder)
    assert ends == {"1", "2"}


def _hold(folder, src, ready, go):
    def plan():
        ready.set()
        go.wait(20)
        yield runfolder.Iteration("it0", "x", [])

    runfolder.opened(folder, SERIAL, False, Settings, lambda: Settings(str(src), 1), False, "refine", str(src))
    with runfolder.removed_if_useless(folder, False):
        runfolder.loop(plan(), folder, entry=_entry, keep=[], total=1, comm=SERIAL, threads=1, progress=None)


@pytest.mark.parametrize("how", [{"resume": True}, {"overwrite": True}, {}])
def test_a_second_run_is_told_who_is_at_work(tmp_path, src, how):
    context = multiprocessing.get_context("fork")
    ready, go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "run", src, ready, go))
    other.start()
    assert ready.wait(20)
    try:
        with pytest.raises(OutputError, match=f"another run is at work there .process {other.pid} on "):
            work(tmp_path / "run", src, 2, **how)
    finally:
        go.set()
        other.join()
    assert other.exitcode == 0
    work(tmp_path / "run", src, 2, resume=True)
    assert hidden(tmp_path) == []


def test_changed_densities_are_not_resumed(tmp_path, src):
    with pytest.raises(OutputError):
        work(tmp_path / "run", src, 1, fail=(1, OutputError("stopped")))
    os.utime(tmp_path / "a.img", (1, 1))  # another time alone does not matter
    work(tmp_path / "run", src, 1, resume=True)
    data = bytearray(Path(tmp_path / "a.img").read_bytes())
    data[400] ^= 1
    Path(tmp_path / "a.img").write_bytes(bytes(data))
    with pytest.raises(MismatchError, match=r"a\.img has other densities than when this run began"):
        work(tmp_path / "run", src, 1, resume=True)
    write_stack(tmp_path / "a.hed", np.zeros((4, 8, 8)), overwrite=True)
    with pytest.raises(MismatchError):
        work(tmp_path / "run", src, 1, resume=True)
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("text", ['{"name": "it0"}\n{"na', "\x00\xff", "[]\n", "3\n", "{}\n"])
def test_damaged_journal(tmp_path, src, text):
    work(tmp_path / "run", src, 1)
    (tmp_path / "run/journal.jsonl").write_text(text)
    with pytest.raises(InputError, match=r"journal\.jsonl: line \d is damaged"):
        work(tmp_path / "run", src, 1, resume=True)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1}', '{"schema": 1, "images": "a", "number": 1, "more": 2}'])
def test_damaged_settings(tmp_path, src, text):
    work(tmp_path / "run", src, 1)
    (tmp_path / "run/run.json").write_text(text)
    with pytest.raises(InputError, match="no run to go on with"):
        work(tmp_path / "run", src, 1, resume=True)
