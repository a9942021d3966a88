"""The maps for users of IMAGIC and RELION: their command lines run, in the order of the page; the web site builds."""

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def lines_of(page: str) -> list[list[str]]:
    """Arguments of the command lines of a page (indented by four, not inside tables or sentences)."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [shlex.split(line)[1:] for line in re.findall(r"^ {4}(im4d .*)$", text, flags=re.M)]


def run(im4d, words: list[str]) -> None:
    """Run one line; outputs of earlier lines may be replaced."""
    replaces = any(re.search(r",\d+$", w) for w in words) or words[0] in ("info", "header")
    im4d(*words, *([] if replaces else ["--overwrite"]))


@pytest.fixture
def data(im4d, tmp_path, monkeypatch):
    """Files of the names that the pages use."""
    monkeypatch.chdir(tmp_path)
    im4d("threed-test", "volumes.hed", "--number", 2, "--size", 32, "--seed", 3)
    im4d("simulate", "volumes.blobs.json", "known.hed", "--images", 120, "--snr", 2, "--seed", 4)
    im4d("copy", "known.hed", "particles.hed")
    im4d("header", "wipe", "particles.hed", "--word", "EULER;THREED;SHIFT")
    im4d("forward", "volumes.hed", "anchors.hed", "--increment", 40)
    im4d("copy", "anchors.hed", "refs.hed")
    im4d("copy", "particles.hed", "averages.hed")
    im4d("header", "set", "averages.hed", "NUMCLS=5 + LOC % 7", "CLASSNO=LOC")
    return tmp_path


def test_imagic_lines_run(im4d, data):
    lines = lines_of("imagic-users.md")
    assert len(lines) > 15
    im4d("copy", "known.hed", "aligned.hed")
    im4d("copy", "known.hed", "reprojections.hed")
    for words in lines:
        if words[:2] == ["header", "takeover"]:  # averages with poses, and members with their numbers
            im4d("header", "set", "posed.hed", "CLASSNO=LOC")
            im4d("header", "set", "aligned.hed", "CLASSNO=LOC")
        run(im4d, words)


@pytest.mark.slow
def test_relion_lines_run(im4d, data):
    lines = lines_of("relion-users.md")
    assert len(lines) > 5
    im4d("convert", "particles.hed", "particles.star")
    im4d("convert", "averages.hed", "averages.mrcs")
    for words in lines:
        if "members.hed" in words:
            im4d("convert", "particles.star", "members.hed")
        run(im4d, words)
    text = (data / "results.star").read_text()
    assert "data_optics" in text and "_rlnAngleRot" in text and "_rlnClassNumber" in text


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed (make docs, or pip install '.[docs]')"
)
def test_site_builds_without_a_broken_link(tmp_path):
    # not --quiet: it hides warnings from --strict too
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    pages = {p.stem for p in (ROOT / "docs").glob("*.md")} - {"README"}
    assert pages <= {p.stem for p in (tmp_path / "site").glob("*.html")}
    assert "http" not in re.findall(r'<(?:script|link)[^>]*(?:src|href)="(\w+)', (tmp_path / "site" / "index.html").read_text())
