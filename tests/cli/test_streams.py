"""Pipes and devices as inputs and outputs, closed standard streams, settings of another folder."""

import os
import subprocess
import sys

import numpy as np
import pytest

from imagic4d_core.io.stack import read_stack, write_stack
from tests.imagic_files import pattern

IM4D = [sys.executable, "-m", "imagic4d_cli.main"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_stack("p.mrcs", pattern(4, 8, 8), pixel_size=2.0)
    return tmp_path


def _shell(line):
    env = {**os.environ, "IM4D": " ".join(IM4D)}
    return subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0)])
def test_closed_streams(folder, closed, code):
    done = _shell(f"$IM4D copy p.mrcs o.hed {closed}")
    assert done.returncode == code and "bug" not in done.stderr
    assert np.array_equal(read_stack("o.hed")[0], pattern(4, 8, 8))
    assert _shell(f"$IM4D info missing.mrc {closed}").returncode == 3


def test_a_full_standard_output_is_named(folder):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    done = _shell("$IM4D info p.mrcs > /dev/full")
    assert done.returncode == 5 and "standard output: " in done.stderr


def test_pipes_are_read(folder):
    done = _shell("cat p.mrcs | $IM4D arithmetic /dev/stdin o.hed --operation abs")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read_stack("o.hed")[0], np.abs(pattern(4, 8, 8)))
    (folder / "l.star").write_text("data_\nloop_\n_rlnImageName\n3@p.mrcs\n")
    done = _shell("$IM4D convert <(cat l.star) l.hed && $IM4D two-images <(cat p.mrcs) p.mrcs t.hed --operation subtract")
    assert done.returncode == 0, done.stderr
    assert np.array_equal(read_stack("l.hed")[0], pattern(4, 8, 8)[2:3]) and not read_stack("t.hed")[0].any()
    assert _shell("printf nothing | $IM4D info /dev/stdin").returncode == 3


def test_devices_and_pipes_are_no_outputs(folder, im4d):
    os.mkfifo("pipe.mrc")
    os.mkfifo("pipe")
    for name in ("/dev/null", "pipe.mrc", "pipe"):
        assert "a pipe or a device" in im4d("copy", "p.mrcs", name, "--overwrite", code=5).stderr
    assert "a pipe or a device" in im4d("fsc", "p.mrcs", "p.mrcs", "--output", "pipe.mrc", "--overwrite", code=5).stderr
    assert "is a device" in im4d("info", "/dev/null", code=3).stderr
    assert sorted(os.listdir()) == ["p.mrcs", "pipe", "pipe.mrc"]


def test_overwrite_in_the_settings_of_another_folder_is_said(folder, im4d, monkeypatch):
    (folder / "im4d.toml").write_text("overwrite = true\n")
    said = "im4d.toml says overwrite = true"
    assert said not in im4d("copy", "p.mrcs", "o.hed").stderr
    (folder / "sub").mkdir()
    monkeypatch.chdir(folder / "sub")
    assert said in im4d("copy", "../p.mrcs", "o.hed").stderr
    assert said not in im4d("copy", "../p.mrcs", "o.hed", "--overwrite").stderr
    assert said not in im4d("info", "../p.mrcs").stderr


@pytest.mark.parametrize("raw", [bytes(range(256)), b"a=" + b"[" * 100_000, b"\xff\xfe", b"overwrite = 1979-05-27\n"])
def test_settings_that_are_none(folder, im4d, raw):
    (folder / "im4d.toml").write_bytes(raw)
    assert len(im4d("copy", "p.mrcs", "o.hed", code=2).stderr.splitlines()) == 1


@pytest.mark.parametrize("damage", [b"\x00\xff\n", b"{}\n", b"null\n", b'{"name": "x"}\n', b"[" * 100_000 + b"\n"])
def test_a_damaged_journal(folder, im4d, damage):
    from imagic4d_core.errors import InputError
    from imagic4d_core.jobs.runfolder import read_journal

    run = folder / "run"
    run.mkdir()
    good = b'{"iteration": 0, "name": "i000", "events": [], "score": 0.5}\n'
    (run / "journal.jsonl").write_bytes(good + good.replace(b"0.5", b"1") + damage)
    with pytest.raises(InputError, match="line 3 is damaged"):
        read_journal(run)
    if damage != b"null\n":
        return
    im4d("plot", "run", "x.png")
    (run / "journal.jsonl").write_bytes(good.replace(b"0.5", b'1, "moved": {"a": 1}'))
    assert "is damaged" in im4d("plot", "run", "y.png", code=3).stderr
