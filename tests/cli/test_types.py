"""Parameter types."""

import click
import pytest

from imagic4d_cli import registry, types
from imagic4d_cli.main import cli
from imagic4d_core.errors import InputError, UsageError
from imagic4d_core.units import Frequency, as_fraction, in_pixels

WORDS = types.Words("random", "header", "split", imagic={"RANDOM_3D_MEMBERSHIP": "random", "HEADER_3D_MEMBERSHIP": "header",
                                                         "SPLIT_3D_MEMBERSHIP": "split", "3D_MEMBERSHIP": "header"})  # fmt: skip


@pytest.mark.parametrize(
    ("text", "want"),
    [("random", "random"), ("RANDOM_3D_MEMBERSHIP", "random"), ("Random-3d-membership", "random"), ("rand", "random"),
     ("3d_mem", "header"), ("H", "header"), ("SPLIT", "split")],
)  # fmt: skip
def test_words(text, want):
    assert WORDS.convert(text, None, None) == want


@pytest.mark.parametrize("text", ["", "nonsense", "randomly"])
def test_words_refuse(text):
    with pytest.raises(click.BadParameter, match="not one of random, header, split"):
        WORDS.convert(text, None, None)


def test_words_refuse_what_is_unclear():
    with pytest.raises(click.BadParameter, match="could be sequential or split"):
        types.Words("split", "sequential").convert("s", None, None)


@pytest.mark.parametrize(("text", "want"), [("c1", "C1"), ("D7", "D7"), ("i", "I"), ("C12", "C12"), ("i2", "I"), ("d3y", "D3Y")])
def test_symmetry(text, want):
    assert types.SYMMETRY.convert(text, None, None) == want


@pytest.mark.parametrize("text", ["X", "C0", "D", "", "C-1", "I9"])
def test_symmetry_refuses(text):
    with pytest.raises(click.BadParameter, match="point group"):
        types.SYMMETRY.convert(text, None, None)


def test_frequency():
    assert types.FREQUENCY.convert("0.5", None, None).fraction(None) == 0.5
    twelve = types.FREQUENCY.convert("12A", None, None)
    assert twelve == Frequency(12.0, True)
    assert twelve.fraction(3.0) == 0.5
    assert as_fraction("12 å", 3.0) == 0.5
    assert as_fraction(0.25, None) == 0.25
    assert Frequency(1.0, True).fraction(3.0) == 1.0
    with pytest.raises(InputError, match="pixel size"):
        twelve.fraction(None)


@pytest.mark.parametrize("text", ["12", "A", "-1", "0", "1.2.3", "nan", "12B"])
def test_frequency_refuses(text):
    with pytest.raises(UsageError):
        Frequency.parse(text)
    with pytest.raises(click.BadParameter):
        types.FREQUENCY.convert(text, None, None)


def test_radius():
    assert types.RADIUS.convert("0.8", None, None) == 0.8
    assert in_pixels(0.5, 64) == 16
    assert in_pixels(20, 64) == 20
    for text in ("-1", "x", "nan", "inf"):
        with pytest.raises(click.BadParameter):
            types.RADIUS.convert(text, None, None)


def test_files_complete_by_suffix(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.hed", "a.img", "b.mrcs", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    found = [item.value for item in types.SOURCE.shell_complete(None, None, "")]
    assert found == ["a", "b.mrcs", "d/"]


def test_locations():
    assert types.LOCATIONS.convert("3-5,9,20-", None, None).ranges == ((3, 5), (9, 9), (20, None))
    with pytest.raises(click.BadParameter, match="start at 1"):
        types.LOCATIONS.convert("0", None, None)


def _number_options():
    """Every option and argument of every command that takes numbers."""
    with click.Context(cli) as ctx:
        for name in registry.TABLE:
            command = cli if " " not in name else cli.get_command(ctx, name.split()[0])
            for param in command.get_command(ctx, name.split()[-1]).params:
                kind = param.type.types[0] if isinstance(param.type, click.Tuple) else param.type
                yield name, param, kind


def test_numbers_of_all_options_are_finite():
    seen = 0
    for name, param, kind in _number_options():
        if param.name in ("verbose", "quiet"):  # counted, not given
            continue
        assert type(kind) not in (click.FloatRange, click.IntRange, type(click.FLOAT), type(click.INT)), (name, param.name)
        if isinstance(kind, types.Real | types.Count | types.Radius | types.FrequencyType | types.Numbers):
            seen += 1
            for text in ("nan", "inf", "-inf", "1e999", "1e999A"):
                with pytest.raises(click.BadParameter):
                    kind.convert(text, param, None)
        if isinstance(kind, types.Count):
            assert kind.convert(str(kind.min + 1), param, None) == kind.min + 1
            with pytest.raises(click.BadParameter):
                kind.convert("999999999999", param, None)
    assert seen > 100


@pytest.mark.parametrize(
    "option", [("--populations", "1,nan"), ("--defocus", "nan"), ("--defocus", "1e4,inf"), ("--preferred", "nan,9")]
)
def test_numbers_in_lists_are_finite(im4d, tmp_path, option):
    im4d("threed-test", tmp_path / "v.hed", "--number", 2, "--size", 8, "--seed", 1, "--pixel-size", 3)
    im4d("simulate", tmp_path / "v.hed", tmp_path / "o.hed", "--images", 4, "--ctf", *option, code=2)
