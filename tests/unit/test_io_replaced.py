"""Files that take the place of others: mode, owner, links, protection, leftovers, room on the device."""

import os
import stat
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from imagic4d_core.errors import OutputError
from imagic4d_core.io import atomic
from imagic4d_core.io.header import HEADER_DTYPE, TAG
from imagic4d_core.io.stack import create_stack, open_stack, write_stack
from tests.imagic_files import pattern


@pytest.fixture
def files(tmp_path):
    h = np.zeros(4, HEADER_DTYPE)
    h["IM4DTAG"], h["REF3D"] = TAG, 1
    for name in ("a.hed", "a.mrcs", "b.hed"):
        write_stack(tmp_path / name, pattern(4, 8, 8), h, pixel_size=2.0)
    return tmp_path


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


IN_PLACE = [
    (["header", "set", "{a}.hed", "REF3D=2"], ["a.hed"]),
    (["header", "set", "{a}.mrcs", "REF3D=2"], ["a.star"]),
    (["append", "b.hed", "{a}.hed"], ["a.hed", "a.img"]),
    (["copy", "b.hed", "{a}.hed,2"], ["a.hed", "a.img"]),
    (["copy", "b.hed", "{a}.hed", "--overwrite"], ["a.hed", "a.img"]),
    (["convert", "b.hed", "{a}.mrcs", "--overwrite"], ["a.mrcs", "a.star"]),
]


@pytest.mark.parametrize("bits", [0o600, 0o640, 0o664, 0o2660])
@pytest.mark.parametrize(("command", "changed"), IN_PLACE)
def test_mode_owner_and_group_are_kept(files, im4d, monkeypatch, command, changed, bits):
    monkeypatch.chdir(files)
    groups = [g for g in os.getgroups() if g != os.getegid()] or ([4711] if os.geteuid() == 0 else [os.getegid()])
    owner = 4712 if os.geteuid() == 0 else os.getuid()
    for name in changed:
        os.chown(name, owner, groups[0])
        os.chmod(name, bits)
    before = [os.stat(n).st_ino for n in changed]
    im4d(*[c.format(a="a") for c in command])
    assert all(os.stat(n).st_ino != i for n, i in zip(changed, before, strict=True)), "nothing was replaced"
    assert [mode(n) for n in changed] == [bits] * len(changed)
    assert {(os.stat(n).st_uid, os.stat(n).st_gid) for n in changed} == {(owner, groups[0])}


def test_new_files_follow_the_umask(files, im4d):
    before = os.umask(0o027)
    try:
        im4d("copy", files / "a.hed", files / "c.hed")
    finally:
        os.umask(before)
    assert mode(files / "c.hed") == mode(files / "c.img") == 0o640


@pytest.mark.parametrize("protected", [0, -1])
@pytest.mark.parametrize(("command", "changed"), IN_PLACE)
def test_a_write_protected_file_is_not_replaced(files, im4d, monkeypatch, command, changed, protected):
    monkeypatch.chdir(files)
    os.chmod(changed[protected], 0o444)
    before = {p.name: p.read_bytes() for p in files.iterdir()}
    said = im4d(*[c.format(a="a") for c in command], code=5).stderr
    assert f"{changed[protected]}: is write-protected (mode 444)" in said
    assert {p.name: p.read_bytes() for p in files.iterdir()} == before


@pytest.mark.parametrize(("command", "changed"), IN_PLACE)
def test_a_symbolic_link_stays_one(files, im4d, monkeypatch, command, changed):
    (files / "there").mkdir()
    for end in ("hed", "img", "mrcs", "star"):
        os.rename(files / f"a.{end}", files / f"there/a.{end}")
        (files / f"a.{end}").symlink_to(f"there/a.{end}")
    monkeypatch.chdir(files)
    before = [os.stat(n).st_ino for n in changed]
    im4d(*[c.format(a="a") for c in command])
    assert all((files / f"a.{end}").is_symlink() for end in ("hed", "img", "mrcs", "star"))
    assert all(os.stat(n).st_ino != i for n, i in zip(changed, before, strict=True))
    assert not [p for p in (*files.iterdir(), *(files / "there").iterdir()) if p.name.startswith(".")]


def _dead():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return gone.pid


def test_leftovers_of_dead_processes_go_and_no_others(files, im4d):
    other_host = f"{(int(atomic._host(), 16) + 1) & 0xFFFF:04x}"
    dead = _dead()
    gone = [f".new.hed.{dead}-{atomic._host()}01234567.tmp", f".new.img.{dead}-01234567.tmp"]
    stay = [
        f".new.hed.{os.getppid()}-{atomic._host()}01234567.tmp",  # of a process that lives
        f".new.hed.{dead}-{other_host}01234567.tmp",  # of another machine
        f".else.hed.{dead}-01234567.tmp",
        f".new.hed.{dead}-0123456.tmp",
        ".new.hed.tmp",
        f".new.hed.{2**70}-01234567.tmp",
    ]
    for name in gone + stay:
        (files / name).write_text("x")
    im4d("copy", files / "a.hed", files / "new.hed")
    left = {p.name for p in files.iterdir()}
    assert not left & set(gone)
    assert left >= set(stay)


@pytest.mark.parametrize("text", ["", "{}", '{"files": 3}', '{"files": [["../x", "a.hed"]]}', "[]"])
def test_damaged_intent_is_named(files, text):
    (files / ".a.im4d-commit").write_text(text)
    with pytest.raises(OutputError, match=r"\.a\.im4d-commit: is damaged"):
        open_stack(files / "a.hed")


def test_an_output_that_does_not_fit_fills_nothing(files, monkeypatch):
    device = namedtuple("device", "f_blocks f_bfree f_bavail f_frsize")
    monkeypatch.setattr(os, "statvfs", lambda path: device(1000, 100, 100, 1000))
    monkeypatch.setattr("imagic4d_core.io.writer.reserve", lambda *a: pytest.fail("room was taken"))
    before = sorted(files.iterdir())
    for name in ("c.hed", "c.mrc", "c.spi"):
        with pytest.raises(OutputError, match=r"cannot be written: 0\.1.* MB are needed, and 0\.1 MB are free there"):
            create_stack(files / name, 1, 1, 200, 200)
    assert sorted(files.iterdir()) == before


@pytest.mark.parametrize("name", ["new.hed", "new.mrc", "a.hed"])
def test_outputs_and_their_folder_are_flushed(files, im4d, monkeypatch, name):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda fd, real=os.fsync: (flushed.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd)))
    im4d("copy", files / "b.hed", files / name, "--overwrite")
    assert str(files) in flushed
    mine = [f for f in flushed if f".{name.split('.')[0]}." in f and f.endswith(".tmp") and "commit" not in f]
    assert len(mine) >= 1 + (".hed" in name)
