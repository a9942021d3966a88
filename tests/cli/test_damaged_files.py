"""Files damaged at random, by seed: no traceback, no hang, nothing left over, no exit code outside the table.

1,000 cases in the quick set, 20,000 in the slow one. What fails is repeated by its format and number: `_case("star", 17, ...)`.
"""

import signal
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

from imagic4d_cli.main import cli
from tests import fuzzing

#: What is done with the damaged file, by turns; the output is always out.*.
COMMANDS = (
    ["info", "{f}", "--statistics"], ["validate", "{f}"], ["convert", "{f}", "out.hed"], ["convert", "{f}", "out.star"],
    ["header", "show", "{f}", "--word", "ALPHA,REF3D,PIXSIZE"], ["copy", "{f}", "out.hed", "--loc", "2-3"],
)  # fmt: skip
OF_SIDECARS = (
    ["header", "set", "f.mrcs", "REF3D=1"], ["info", "f.mrcs"], ["convert", "f.mrcs", "out.hed"],
    ["convert", "p.mrcs", "out.hed", "--poses", "f.star"],
)  # fmt: skip
SECONDS = 20
FORMS = tuple(fuzzing.FORMATS)


def _hung(*_):
    raise TimeoutError("hangs")


def _arguments(form, number):
    if form == "plt":
        return ["excopy", "p.mrcs", "out.hed", "--operation", "extract", "--plt", "f.plt"]
    if form == "sidecar":
        return OF_SIDECARS[number % len(OF_SIDECARS)]
    return [a.format(f=fuzzing.FORMATS[form][0]) for a in COMMANDS[number % len(COMMANDS)]]


def _case(form, number, file, raw, folder):
    rng = np.random.default_rng([number, FORMS.index(form)])
    file.write_bytes(fuzzing.damaged(raw, rng))
    before = fuzzing.listing(folder)
    args = _arguments(form, number)
    signal.alarm(SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            done = CliRunner().invoke(cli, args)
    finally:
        signal.alarm(0)
    where = f"{form}, case {number}: im4d {' '.join(args)}: exit {done.exit_code}\n{done.stderr}"
    assert done.exit_code in (0, 1, 2, 3, 4, 5, 7), where
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr, where
    assert done.exit_code < 2 or sum(line.startswith("im4d: error: ") for line in done.stderr.splitlines()) == 1, where
    left = [name for name in fuzzing.listing(folder) if name not in before]
    assert all(name.startswith("out.") for name in left), f"{where}{left}"
    assert done.exit_code < 2 or not left, f"{where}{left}"
    for name in left:
        (folder / name).unlink()


def _cases(form, start, stop, tmp_path, monkeypatch):
    if form == "hdf":
        pytest.importorskip("h5py")
    file = fuzzing.make(tmp_path / "w", form)
    monkeypatch.chdir(tmp_path / "w")
    raw = file.read_bytes()
    old = signal.signal(signal.SIGALRM, _hung)
    try:
        for number in range(start, stop):
            _case(form, number, file, raw, tmp_path / "w")
    finally:
        signal.signal(signal.SIGALRM, old)


QUICK = 1000 // len(FORMS) + 1


@pytest.mark.parametrize("form", FORMS)
def test_damaged_files(tmp_path, monkeypatch, form):
    _cases(form, 0, QUICK, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_many_damaged_files(tmp_path, monkeypatch, form):
    _cases(form, QUICK, 20_000 // len(FORMS) + 1, tmp_path, monkeypatch)


@pytest.mark.parametrize(("form", "number"), [("map", 864), ("par", 91)])
def test_damage_that_was_not_taken_well(tmp_path, monkeypatch, form, number):
    """A signalling NaN; the number of an image beyond 64 bits."""
    _cases(form, number, number + 1, tmp_path, monkeypatch)
