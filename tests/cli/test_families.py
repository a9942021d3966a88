"""Commands of two words: im4d WORD WORD, by their IMAGIC name, in help, completion and settings."""

import click
import pytest
from click.testing import CliRunner

from imagic4d_cli import lazygroup, registry
from imagic4d_cli.main import cli
from imagic4d_cli.registry import Entry


@pytest.fixture
def family(monkeypatch, tmp_path):
    """A family ``trial`` with the commands ``one`` and ``two``, known by the name TRIAL-ONE too."""
    seen = []

    def load(name):
        @click.command(name)
        @click.option("--level", type=int, default=1, help="A number.")
        def command(level):
            seen.append((name, level))

        command.context_settings["auto_envvar_prefix"] = "IM4D_" + name.upper().replace(" ", "_")
        return command

    rows = {f"trial {w}": Entry("x:cli", "Files", f"Try {w}.") for w in ("one", "two")}
    monkeypatch.setattr(registry, "TABLE", registry.TABLE | rows)
    monkeypatch.setattr(registry, "FAMILIES", registry.FAMILIES | {"trial": "Try things."})
    monkeypatch.setattr(registry, "ALIASES", registry.ALIASES | {"trial-one": "trial one"})
    monkeypatch.setattr(lazygroup, "_load", load)
    monkeypatch.chdir(tmp_path)
    return seen


def call(*args, code=0, **env):
    done = CliRunner().invoke(cli, list(args), env=env)
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("words", [("trial", "one"), ("trial-one",), ("TRIAL-ONE",), ("trial", "ONE")])
def test_all_names_lead_to_the_command(family, words):
    call(*words, "--level", "3")
    assert family == [("trial one", 3)]


def test_family_has_help(family):
    text = call("trial", "--help")
    assert "Try things." in text
    assert "one  Try one." in text
    assert "trial one  " in call("--help")
    assert "Usage: " in call("trial", "two", "--help")


def test_mistyped_word_is_one_clear_line(family):
    assert "no such command trial 'oen': did you mean one?" in call("trial", "oen", code=2)
    assert family == []


def test_settings_and_environment(family, tmp_path):
    (tmp_path / "im4d.toml").write_text("[trial.two]\nlevel = 5\n[trial.one]\nlevel = 6\n")
    call("trial", "two")
    call("trial", "one", IM4D_TRIAL_ONE_LEVEL="7")
    assert family == [("trial two", 5), ("trial one", 7)]


def test_completion(family):
    from click.shell_completion import ShellComplete

    def words(args, incomplete):
        return [item.value for item in ShellComplete(cli, {}, "im4d", "_X").get_completions(args, incomplete)]

    assert words([], "tri") == ["trial"]
    assert words(["trial"], "") == ["one", "two"]
    assert words(["trial", "one"], "--le") == ["--level"]
