"""The coded history of headers (word 200)."""

import numpy as np
from imagic_files import pattern

from imagic4d_core import __version__
from imagic4d_core.io.header import add_history, blank_headers
from imagic4d_core.io.stack import create_stack, read_stack, write_stack
from imagic4d_core.jobs.files.copying import copy


def lines(h):
    return [bytes(v).decode().rstrip("\0 ").split(";") for v in h["HISTORY"]]


def test_lines_are_appended_and_not_repeated():
    h = blank_headers(3)
    h["HISTORY"][1] = b"cut;mask"
    add_history(h, "one; two \u00e5")
    add_history(h, "one; two \u00e5")
    assert lines(h) == [["one, two ?"], ["cut", "mask", "one, two ?"], ["one, two ?"]]


def test_the_oldest_lines_go():
    h = blank_headers(1)
    for k in range(40):
        add_history(h, f"line number {k}")
    got = lines(h)[0]
    assert got[-1] == "line number 39" and got[0] == f"line number {40 - len(got)}" and len(";".join(got)) <= 228


def test_writers_stamp_what_made_the_images(tmp_path):
    write_stack(tmp_path / "a", pattern(3, 4, 4))
    data, h = read_stack(tmp_path / "a")
    assert lines(h) == [[""]] * 3
    for late in (False, True):  # headers before and after the densities
        with create_stack(tmp_path / f"b{late}", 3, 1, 4, 4, history="turned") as out:
            for part in (0, 1) if late else (1, 0):
                out.write(0, data) if part else out.set_headers(0, h)
        assert lines(read_stack(tmp_path / f"b{late}")[1]) == [[f"im4d-{__version__}:turned"]] * 3
    copy(tmp_path / "bTrue", tmp_path / "c")
    assert np.array_equal(read_stack(tmp_path / "c")[1]["HISTORY"], read_stack(tmp_path / "bTrue")[1]["HISTORY"])


def test_commands_leave_their_line(im4d, tmp_path):
    im4d("threed-test", tmp_path / "v.hed", "--number", "1", "--size", "16")
    im4d("forward", tmp_path / "v.hed", tmp_path / "p.hed", "--increment", "60")
    assert lines(read_stack(tmp_path / "p.hed")[1])[0][-1] == f"im4d-{__version__}:forward"
