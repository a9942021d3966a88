"""The whole command line as data."""

import inspect
import re
from pathlib import Path

import click
import pytest

from imagic4d_cli import docgen, registry
from imagic4d_cli.main import cli

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(registry.TABLE)
#: Coarser for projections than for a search; mirrored references are asked for, mirrored images are not; ...
DEFAULT_PER_COMMAND = {"--increment", "--object-size", "--iterations", "--mode", "--mirror", "--symmetry"}


@pytest.fixture(scope="module")
def info():
    with click.Context(cli, info_name="im4d") as ctx:
        return ctx.to_info_dict()["command"]


def test_registry_and_files_agree():
    """A file per command, named after it; a pair of commands shares a file, named after the one for images."""
    files = {p.stem for p in (ROOT / "imagic4d_cli" / "commands").glob("[a-z]*.py")}
    pairs: dict[str, set[str]] = {}
    for name, entry in registry.TABLE.items():
        module, _, obj = entry.target.removeprefix("imagic4d_cli.commands.").partition(":")
        assert module in files, f"{name}: no file {module}.py"
        if obj == "cli":
            assert module == name.replace("-", "_").replace(" ", "_")
        else:
            pairs.setdefault(module, set()).add(obj)
        if obj == "cli.images":
            assert module == name.replace("-", "_").replace(" ", "_")
    assert all(both == {"cli.images", "cli.volumes"} for both in pairs.values()), pairs
    assert files == {entry.target.split(":")[0].rsplit(".", 1)[1] for entry in registry.TABLE.values()}


def test_names_are_unique():
    aliases = [alias for entry in registry.TABLE.values() for alias in entry.aliases]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(NAMES)
    assert all(entry.group in registry.GROUPS for entry in registry.TABLE.values())


@pytest.mark.parametrize("name", NAMES)
def test_command(name, info, im4d):
    command = info["commands"][name]
    assert command["name"] == name
    first = inspect.cleandoc(command["help"]).split("\n\n")[0]
    assert " ".join(first.split()) == registry.TABLE[name].help
    with click.Context(cli, info_name="im4d") as ctx:
        obj = cli.get_command(ctx, name)
        page = docgen.Page(name, command, obj, click.Context(obj, info_name=name, parent=ctx))
    assert page.examples, "a command's docstring ends in an Examples block"
    assert all(line.startswith(("im4d ", "mpiexec ", "#", "for ", "done")) or "\\" in line for line in page.examples)
    assert any(f"im4d {name}" in line for line in page.examples)
    assert set(page.related) <= set(NAMES), "See also: names commands"
    for param in obj.params:
        assert getattr(param, "help", None), f"{name}: {param.name} has no help"
    assert (ROOT / "man" / "man1" / f"im4d-{name.replace(' ', '-')}.1").is_file(), "run `make generate`"
    assert "Usage:" in im4d(*name.split(), "--help").stdout


@pytest.mark.parametrize("name", NAMES)
def test_examples_parse(name, info):
    """Every option in an example exists."""
    known = {opt for p in info["commands"][name]["params"] for opt in (*p["opts"], *p["secondary_opts"])} | {"-n", "-h", "-vv"}
    text = inspect.cleandoc(info["commands"][name]["help"]).split("Examples:")[-1]
    for line in text.splitlines():
        if f"im4d {name} " in line:
            given = set(re.findall(r"(?<=\s)(--?[a-z][a-z0-9-]*)", line.split(f"im4d {name} ", 1)[1]))
            assert given <= known, line


def test_one_option_one_meaning(info):
    """One option name has one type and one default in the whole toolkit."""
    seen: dict[str, tuple] = {}
    bad = []
    for name, command in info["commands"].items():
        for p in command["params"]:
            if p["param_type_name"] != "option":
                continue
            default = None if set(p["opts"]) & DEFAULT_PER_COMMAND else str(p["default"])
            what = (p["type"]["param_type"], p["multiple"], p["is_flag"], default)
            for opt in p["opts"]:
                assert "_" not in opt, f"{name}: {opt} is not kebab-case"
                if seen.setdefault(opt, what) != what:
                    bad.append(f"{name} {opt}: {what} is not {seen[opt]}")
    assert bad == []


@pytest.mark.parametrize("alias", sorted(registry.ALIASES))
def test_imagic_names_work(alias, im4d):
    assert f"im4d {registry.ALIASES[alias]}" in im4d(alias.upper(), "--help").stdout
    assert not any(line.startswith(f"  {alias} ") for line in im4d("--help").stdout.splitlines())


def test_generated_files_are_up_to_date():
    assert "\n".join(docgen.check(ROOT)) == ""
