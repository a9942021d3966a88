"""What every generated page holds."""

import re
import shutil
import subprocess

import pytest

from imagic4d_cli import docgen, headerwords, registry

SECTIONS = ("NAME", "SYNOPSIS", "DESCRIPTION", "HEADER WORDS", "IMAGIC NAME", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO")


@pytest.fixture(scope="module")
def files():
    return docgen.build()


@pytest.mark.parametrize("name", sorted(registry.TABLE))
def test_every_page_has_all_sections(files, name):
    text = files[f"man/man1/im4d-{name.replace(' ', '-')}.1"]
    missing = [s for s in SECTIONS if f".SH {s}" not in text]
    assert missing == [], "header words: a paragraph 'Header words read: ... Written: ...' in the docstring, or headerwords.py"


def test_header_words_are_said_once():
    assert set(headerwords.WORDS) <= set(registry.TABLE)
    _, pages = docgen.pages()
    for page in pages:
        assert not re.search(r"Header words( read| written)*:", " ".join(page.body)), page.name


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff on this machine")
def test_no_warnings_of_groff(files):
    pages = "".join(text for name, text in files.items() if name.endswith(".1"))
    done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8"], input=pages, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
