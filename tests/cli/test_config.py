"""im4d.toml, IM4D_* and the command line, in their order."""

import click
import pytest
from click.testing import CliRunner

from imagic4d_cli import options as opt
from imagic4d_cli import registry
from imagic4d_cli.lazygroup import LazyGroup
from imagic4d_cli.main import cli
from imagic4d_cli.run import pass_run


@pytest.fixture
def call(monkeypatch, tmp_path):
    """A command `warmup` that reports what its options came to."""

    @click.command("warmup")
    @opt.increment
    @opt.symmetry
    @opt.common
    @pass_run
    def probe(run, increment, symmetry):
        run.report({"increment": increment, "symmetry": symmetry, "threads": run.threads, "overwrite": run.overwrite})

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: probe if name == "warmup" else None)
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)

    def run(text: str, *args: str, env: dict | None = None, code: int = 0):
        (tmp_path / "im4d.toml").write_text(text)
        done = CliRunner().invoke(cli, ["warmup", *args], env=env)
        assert done.exit_code == code, done.output
        return done.stderr if code else dict(line.split(": ") for line in done.stdout.splitlines())

    return run


def test_file_upward_with_section_over_top_level(call):
    got = call('threads = 3\nsymmetry = "c4"\n[warmup]\nincrement = 7.5\nsymmetry = "D2"\n')
    assert got == {"increment": "7.5", "symmetry": "D2", "threads": "3", "overwrite": "False"}


def test_order(call):
    text = "threads = 3\n"
    assert call(text, env={"IM4D_THREADS": "4"})["threads"] == "4"
    assert call(text, env={"IM4D_WARMUP_THREADS": "5"})["threads"] == "5"
    assert call(text, "--threads", "6", env={"IM4D_THREADS": "4"})["threads"] == "6"


def test_unknown_keys_are_errors_with_a_suggestion(call):
    assert "unknown key 'thread': did you mean threads?" in call("thread = 3\n", code=2)
    assert "[warmup]: unknown key 'incremnt': did you mean increment?" in call("[warmup]\nincremnt = 3\n", code=2)
    assert "did you mean warmup?" in call("[warmpu]\nx = 3\n", code=2)


def test_bad_values_and_bad_toml(call):
    assert "'X9' is not a point group" in call('symmetry = "X9"\n', code=2)
    assert "not TOML" in call("threads = = 3\n", code=2)


def test_missing_file(call):
    done = CliRunner().invoke(cli, ["--config", "nowhere.toml", "warmup"])
    assert done.exit_code == 2
    assert "nowhere.toml: No such file" in done.stderr


def test_real_sections_are_known(call):
    for name in registry.TABLE:
        call(f"[{name.replace(chr(32), chr(46))}]\n")
