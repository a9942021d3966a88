"""docs/first-hour.md: its commands, typed line by line, print what the page says (written by tests/first_hour.py)."""

import pytest
from first_hour import EPOCH, PAGE, same, steps, until_refine


def typed(im4d, part: list[tuple[list[str], list[str]]], loose: bool) -> None:
    """Run the steps in the current folder and compare."""
    for words, wanted in part:
        found = im4d(*words, env={"SOURCE_DATE_EPOCH": EPOCH}).stdout.splitlines()
        assert same(found, wanted, loose), "\n".join(["im4d " + " ".join(words), "-- page:", *wanted, "-- printed:", *found])


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
