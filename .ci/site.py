"""Hooks of mkdocs: pages and files outside docs/ that the pages link to become part of the site, below project/."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CHANGES.md", "CONTRIBUTING.md", "examples/real_science/README.md")
FILES = ("LICENSE", "CITATION.cff", "examples/*.*", "examples/Makefile", "examples/real_science/*", "benchmarks/*.py")
LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def on_files(files, config):
    """Add what lies outside docs/."""
    names = {*PAGES, *(str(p.relative_to(ROOT)) for pattern in FILES for p in ROOT.glob(pattern) if p.is_file())}
    for name in sorted(names):
        files.append(File.generated(config, f"project/{name}", abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Turn links between files of the project into links between files of the site."""
    here = page.file.src_uri
    source = here.removeprefix("project/") if here.startswith("project/") else f"docs/{here}"

    def moved(match):
        link = match[2]
        if "://" in link:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        if (ROOT / target).is_dir():
            target += "/README.md"
        there = target.removeprefix("docs/") if target.startswith("docs/") else f"project/{target}"
        return match[1] + posixpath.relpath(there, posixpath.dirname(here) or ".") + match[3]

    return LINK.sub(moved, markdown)
