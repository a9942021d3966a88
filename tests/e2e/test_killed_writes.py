"""Commands killed at every one of their file-system calls: files that belong together are old or new, never mixed."""

import hashlib
import os
import shutil
import signal

import numpy as np
import pytest

from imagic4d_core.io.header import HEADER_DTYPE, TAG
from imagic4d_core.io.stack import open_stack, write_stack
from tests import killing
from tests.imagic_files import pattern

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

#: Arguments, and the files of the output; `made.hed`, `made.mrcs` and their partners exist before.
COMMANDS = {
    "copy": (["copy", "images.hed", "made.hed", "--overwrite"], ["made.hed", "made.img"]),
    "copy new": (["copy", "images.hed", "new.hed"], ["new.hed", "new.img"]),
    "copy into": (["copy", "images.hed", "made.hed,2"], ["made.hed", "made.img"]),
    "append": (["append", "images.hed", "made.hed"], ["made.hed", "made.img"]),
    "convert to MRC": (["convert", "images.hed", "made.mrcs", "--overwrite"], ["made.mrcs", "made.star"]),
    "convert new list": (["convert", "images.hed", "new.star"], ["new.mrcs", "new.star"]),
    "header set": (["header", "set", "made.hed", "REF3D=5"], ["made.hed", "made.img"]),
    "header set out": (["header", "set", "images.hed", "made.hed", "REF3D=5", "--overwrite"], ["made.hed", "made.img"]),
    "header set of a list": (["header", "set", "made.mrcs", "REF3D=5"], ["made.mrcs", "made.star"]),
    "header wipe": (["header", "wipe", "made.hed", "--word", "EULER"], ["made.hed", "made.img"]),
    "excopy": (["excopy", "images.hed", "made.hed", "--operation", "reverse", "--overwrite"], ["made.hed", "made.img"]),
    "arithmetic": (["arithmetic", "images.hed", "made.hed", "--operation", "abs", "--overwrite"], ["made.hed", "made.img"]),
    "cut": (["cut", "images.hed", "made.hed", "--box", "6", "--overwrite"], ["made.hed", "made.img"]),
    "to SPIDER": (["convert", "images.hed", "made.spi", "--overwrite"], ["made.spi"]),
}  # fmt: skip


def _make(folder):
    folder.mkdir()
    for name, count, seed in (("images.hed", 4, 1), ("made.hed", 4, 2), ("made.mrcs", 4, 2), ("made.spi", 4, 2)):
        h = np.zeros(count, HEADER_DTYPE)
        h["IM4DTAG"], h["ALPHA"], h["REF3D"] = TAG, np.arange(count) + 10 * seed, seed
        write_stack(folder / name, pattern(count, 8, 8) + seed, h, pixel_size=2.0)


def _state(folder, files):
    """Digest of each file, None for one that is not there."""
    return tuple(hashlib.sha256((folder / f).read_bytes()).hexdigest() if (folder / f).exists() else None for f in files)


def _left(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


@pytest.mark.parametrize("name", COMMANDS)
def test_old_or_new_never_mixed(tmp_path, name, im4d, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    args, files = COMMANDS[name]
    _make(tmp_path / "fresh")
    shutil.copytree(tmp_path / "fresh", tmp_path / "good")
    old = _state(tmp_path / "fresh", files)
    code, calls = killing.run(args, None, tmp_path / "good")
    assert code == 0 and calls > 4 and not _left(tmp_path / "good")
    new = _state(tmp_path / "good", files)
    assert old != new
    seen = set()
    for at in range(calls):
        folder = tmp_path / f"k{at}"
        shutil.copytree(tmp_path / "fresh", folder)
        status = killing.run(args, at, folder)[0]
        assert status == -signal.SIGKILL or (status == 0 and at >= calls - 2), "the number of calls may differ by one"
        intent = (folder / f".{files[0].split('.')[0]}.im4d-commit").exists()
        if old[0] is not None or intent:
            with open_stack(folder / files[-1]):  # whoever opens it next finishes what was decided
                pass
        state = _state(folder, files)
        assert state in (old, new), f"killed before call {at} of {calls}"
        seen.add(state)
        again = [*args, "--overwrite"] if "--overwrite" not in args and state == new and old[0] is None else args
        assert killing.run(again, None, folder)[0] == 0
        if name not in ("append", "copy into"):  # given once more to the new file they do more
            assert _state(folder, files) == new
        assert not _left(folder), "what a killed command leaves is removed by the next one"
        shutil.rmtree(folder)
    assert seen == {old, new}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU])
def test_stopped_between_renames(tmp_path, how):
    """A signal that can be caught leaves nothing, wherever it comes."""
    args, files = COMMANDS["copy"]
    _make(tmp_path / "fresh")
    shutil.copytree(tmp_path / "fresh", tmp_path / "good")
    _, calls = killing.run(args, None, tmp_path / "good")
    old, new = _state(tmp_path / "fresh", files[1:]), _state(tmp_path / "good", files[1:])
    for at in range(calls):
        folder = tmp_path / f"k{at}"
        shutil.copytree(tmp_path / "fresh", folder)
        killing.run(args, at, folder, how)
        assert not _left(folder), at
        with open_stack(folder / "made.hed") as stack:
            assert set(stack.headers()["REF3D"].tolist()) == ({2} if _state(folder, files[1:]) == old else {1})
        assert _state(folder, files[1:]) in (old, new)
        shutil.rmtree(folder)
