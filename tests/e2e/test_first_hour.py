"""docs/first-hour.md: its commands, typed line by line, print what the page says.

``python tests/e2e/test_first_hour.py`` types them and writes what they print into the page, and the pictures into docs/pictures.
"""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "first-hour.md"
EPOCH = "1700000000"
BLOCK = re.compile(r"^```console\n(.*?)^```\n", flags=re.M | re.S)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def steps() -> list[tuple[list[str], list[str]]]:
    """(arguments of im4d, lines that it should print), in the order of the page."""
    found: list[tuple[list[str], list[str]]] = []
    for line in "".join(BLOCK.findall(PAGE.read_text(encoding="utf-8"))).splitlines():
        if line.startswith("$ "):
            words = shlex.split(line[2:])
            assert words[0] == "im4d"
            found.append((words[1:], []))
        else:
            found[-1][1].append(line)
    return found


def same(found: list[str], wanted: list[str], loose: bool) -> bool:
    """Equal lines; loosely, where a processor may round otherwise: the same words, and numbers that differ by a few per cent."""
    if not loose:
        return found == wanted
    if [NUMBER.sub("#", " ".join(a.split())) for a in found] != [NUMBER.sub("#", " ".join(a.split())) for a in wanted]:
        return False
    pairs = zip(NUMBER.findall("\n".join(found)), NUMBER.findall("\n".join(wanted)), strict=True)
    return all(abs(float(a) - float(b)) <= 0.05 * abs(float(b)) + 0.05 for a, b in pairs)


def typed(im4d, part: list[tuple[list[str], list[str]]], loose: bool) -> None:
    """Run the steps in the current folder and compare."""
    for words, wanted in part:
        found = im4d(*words, env={"SOURCE_DATE_EPOCH": EPOCH}).stdout.splitlines()
        assert same(found, wanted, loose), "\n".join(["im4d " + " ".join(words), "-- page:", *wanted, "-- printed:", *found])


def until_refine() -> int:
    """Number of steps before the first long one."""
    return next(k for k, (words, _) in enumerate(steps()) if words[0] == "refine")


def test_page_shows_what_every_command_prints():
    assert all(wanted for _, wanted in steps()) and len(steps()) > 15
    text = PAGE.read_text(encoding="utf-8")
    names = {words[0] for words, _ in steps()}
    assert {"info", "validate", "show", "refine", "fsc", "convert", "compare", "msa"} <= names
    assert f"SOURCE_DATE_EPOCH={EPOCH}" in text


def test_first_steps_print_what_the_page_says(im4d, tmp_path, monkeypatch):
    """Everything before the first run of `refine`, which depends on nothing but the seeds: line for line."""
    monkeypatch.chdir(tmp_path)
    typed(im4d, steps()[: until_refine()], loose=False)
    assert (tmp_path / "images.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_whole_hour(im4d, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    typed(im4d, steps()[: until_refine()], loose=False)
    typed(im4d, steps()[until_refine() :], loose=True)
    for name in ("fsc.png", "averages.png", "eigenimages.png", "run1/report.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert "</html>" in (tmp_path / "run1" / "report.html").read_text(encoding="utf-8")


def write_page(folder: Path) -> None:
    """Type the commands in `folder`, which is made, and put what they print into the page."""
    import subprocess

    from PIL import Image

    folder.mkdir(parents=True)
    env = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}

    def filled(block: re.Match) -> str:
        lines = []
        for line in block[1].splitlines():
            if line.startswith("$ "):
                command = [sys.executable, "-m", "imagic4d_cli.main", *shlex.split(line[2:])[1:]]
                done = subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.PIPE, text=True)
                lines += [line, *done.stdout.splitlines()]
        return "```console\n" + "\n".join(lines) + "\n```\n"

    PAGE.write_text(BLOCK.sub(filled, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for name in ("images.png", "fsc.png", "averages.png", "eigenimages.png", "run1/report.png"):
        picture = Image.open(folder / name).convert("RGB").quantize(128)
        picture.save(PAGE.parent / "pictures" / f"first-hour-{Path(name).name}", optimize=True)


if __name__ == "__main__":
    write_page(Path(sys.argv[1] if len(sys.argv) > 1 else "first-hour"))
