"""Pages for people: links resolve, commands and options that they name exist, examples are sound."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from imagic4d_cli.main import cli
from imagic4d_cli.registry import ALIASES, FAMILIES, TABLE, members

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """A page without its code."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^    .*$", "", text, flags=re.M))


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as hosts of repositories make them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_relative_links_resolve(page):
    wrong = []
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert not wrong


def test_index_names_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "README.md" and f"({p.name})" not in index]
    assert not missing


@pytest.mark.parametrize("name", TABLE)
def test_every_command_is_documented(name):
    pages = [ROOT / "README.md", ROOT / "docs" / "cli.md"]
    assert all(re.search(rf"`{name}`|\[{name}\]", page.read_text()) for page in pages)


def command_lines() -> list[tuple[str, str]]:
    """(where, command line) of every line of code or span that starts a command of im4d."""
    found = []
    for page in [*PAGES, *sorted(p for p in (ROOT / "examples").rglob("*") if p.is_file())]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        lines = re.findall(r"^(?: {4}|\$ )?(?:mpiexec -n \d+ )?(im4d (?:'[^'\n]*'|\"[^\"\n]*\"|[^\n`|>'\"])*)", text, flags=re.M)
        lines += re.findall(r"`(im4d [^`\n]*)`", text) if page.suffix == ".md" else []
        found += [(page_id(page), line) for line in lines]
    return found


def test_commands_and_options_in_pages_exist():
    seen, wrong = 0, []
    for where, line in command_lines():
        words = shlex.split(line, comments=True)[1:]
        name = words[0] if words else ""
        if name in FAMILIES and len(words) > 1 and words[1] in members(name):
            name, words = " ".join(words[:2]), words[1:]
        if not re.fullmatch(r"[a-z][a-z -]*", name):  # im4d --version, im4d COMMAND --help, im4d.toml
            continue
        if name not in TABLE and name not in ALIASES:
            wrong.append(f"{where}: {line}")
            continue
        command = cli.get_command(click.Context(cli), ALIASES.get(name, name))
        known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "--config"}
        bad = [w for w in words[1:] if re.match(r"--?[a-z]", w) and w.partition("=")[0].partition("|")[0] not in known]
        wrong += [f"{where}: {line}: {b}" for b in bad]
        seen += 1
    assert not wrong
    assert seen > 20


@pytest.mark.parametrize(
    "script", sorted([*(ROOT / "examples").rglob("*.sh"), *(ROOT / "examples").glob("*.slurm")]), ids=page_id
)
def test_example_scripts_are_bash(script):
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.mark.skipif(shutil.which("make") is None, reason="no make here")
def test_example_makefile_runs_every_step_once(tmp_path):
    (tmp_path / "averages.hed").touch()
    command = ["make", "-n", "--no-print-directory", "-f", str(ROOT / "examples" / "Makefile"), "K=4"]
    clean = {"PATH": os.environ["PATH"]}
    out = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True, check=True).stdout
    lines = [line.split() for line in out.replace("\\\n", " ").splitlines() if line.startswith("im4d ")]
    count = {name: sum(words[1] == name for words in lines) for name in ("prepare", "angrec", "pool", "recon", "takeover")}
    assert count == {"prepare": 1, "angrec": 55, "pool": 1, "recon": 60, "takeover": 1}
    assert "--volumes 8" in out and "pool run4d/i/1-16.hed run4d/i/2-16.hed run4d/i/3-16.hed run4d/kept.hed --volumes 4" in out
    side = ("--images-out", "--leave-out", "--halves", "--reprojections")
    made = {"averages.hed", "run4d/halves_a.hed", "run4d/halves_b.hed"}
    for words in lines:  # every step finds what it reads
        after = dict(zip(words[1:], words, strict=False))  # each word -> the one before it
        files = [w for w in words if w.endswith(".hed")]
        outputs = {w for w in files if after[w] in side}
        if words[1] not in ("chance", "fsc"):
            outputs.add([w for w in files if not after[w].startswith("--") or after[w] == "--overwrite"][-1])
        assert set(files) - outputs <= made, words
        made |= outputs
