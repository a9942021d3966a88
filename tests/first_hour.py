"""The commands of docs/first-hour.md and what they should print.

``python tests/first_hour.py FOLDER`` types them in a new folder and writes what they print into the page, and the pictures into
docs/pictures.
"""

import os
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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


def until_refine() -> int:
    """Number of steps before the first long one."""
    return next(k for k, (words, _) in enumerate(steps()) if words[0] == "refine")


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
