"""--dry-run, and suggestions for mistyped files."""

import os

import pytest
from imagic_files import pattern, write_pair

from imagic4d_core.io.stack import write_stack


def state(folder):
    return {n: (os.stat(folder / n).st_mtime_ns, (folder / n).read_bytes()) for n in sorted(os.listdir(folder))}


@pytest.fixture
def files(tmp_path):
    write_pair(tmp_path / "a", pattern(3, 1, 4, 4))
    write_pair(tmp_path / "old", pattern(2, 1, 4, 4))
    write_stack(tmp_path / "old.mrcs", pattern(2, 4, 4))
    (tmp_path / "old.star").write_text("data_\n")
    return tmp_path


def fates(done):
    return {os.path.basename(o["file"]): o["fate"] for o in done.json["outputs"]}


@pytest.mark.parametrize(
    ("arguments", "code", "want"),
    [
        (["copy", "a", "new"], 0, {"new.img": "new", "new.hed": "new"}),
        (["copy", "a", "old"], 1, {"old.img": "refused", "old.hed": "refused"}),
        (["copy", "a", "old", "--overwrite"], 0, {"old.img": "replaced", "old.hed": "replaced"}),
        (["convert", "a", "old.mrcs", "--overwrite"], 0, {"old.mrcs": "replaced", "old.star": "replaced"}),
        (["convert", "a", "new.star"], 0, {"new.mrcs": "new", "new.star": "new"}),
        (["copy", "a,1", "old,2"], 0, {"old.img": "changed", "old.hed": "changed"}),
        (["header", "set", "a", "USER1=3"], 0, {"a.hed": "headers"}),
    ],
)
def test_nothing_is_done(im4d, files, arguments, code, want, monkeypatch):
    monkeypatch.chdir(files)
    before = state(files)
    done = im4d(*arguments, "--dry-run", "--json", code=code)
    assert fates(done) == want and done.json["dry_run"] is True
    content = "1 image of 4 x 4 (IMAGIC)" if "," in arguments[1] else "3 images of 4 x 4 (IMAGIC)"
    assert done.json["inputs"][0]["content"] == content
    assert state(files) == before
    text = im4d(*arguments, "--dry-run", code=code).stdout
    assert "nothing was changed" in text


def test_mistakes_are_found_too(im4d, files):
    assert "did you mean" in im4d("copy", files / "b.hed", files / "new", "--dry-run", code=3).stderr
    assert "does not exist" in im4d("copy", files / "a", files / "no" / "new", "--dry-run", code=5).stderr


def test_every_command_that_overwrites_has_it(im4d):
    import click

    from imagic4d_cli.main import cli

    with click.Context(cli, info_name="im4d") as ctx:
        commands = ctx.to_info_dict()["command"]["commands"]
    for name, command in commands.items():
        options = {opt for p in command["params"] for opt in p["opts"]}
        assert ("--overwrite" in options) <= ("--dry-run" in options), name


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("partcles", "particles"), ("particles.he", "particles.hed"), ("Particles", "particles"), ("map.mrcs", "map.mrc")],
)
def test_nearest_file_is_named(im4d, tmp_path, typed, meant):
    write_pair(tmp_path / "particles", pattern(2, 1, 4, 4))
    write_stack(tmp_path / "map.mrc", pattern(1, 4, 4, 4))
    message = im4d("info", tmp_path / typed, code=3).stderr
    assert f"did you mean {tmp_path / meant}?" in message
    assert "did you mean" not in im4d("info", tmp_path / "quite-different", code=3).stderr
    assert f"there is no folder {tmp_path / 'no'}" in im4d("info", tmp_path / "no" / "x.hed", code=3).stderr


def test_nearest_option_is_named(im4d):
    assert "--overwrite" in im4d("copy", "a", "b", "--overwrit", code=2).stderr
    assert "did you mean forward?" in im4d("foward", code=2).stderr
