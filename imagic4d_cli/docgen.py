"""Man pages, completions and docs/cli.md, made from the commands themselves; docs/header-words.md, from the header table.

``python -m imagic4d_cli.docgen`` writes them into the checkout; ``--check`` writes nothing, prints what differs, exits 1.
"""

import difflib
import inspect
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from imagic4d_cli import RELEASE_DATE, exits, headerwords, registry

CLICK = "8.5"
"""Click release whose completion templates are committed; under another they are neither written nor checked."""

SHELLS = {"bash": "im4d.bash", "zsh": "_im4d", "fish": "im4d.fish"}

ENVIRONMENT = (
    ("IM4D_<OPTION>", "Value of an option that is not given, such as IM4D_THREADS=2."),
    ("IM4D_<COMMAND>_<OPTION>", "The same for one command only, such as IM4D_FORWARD_INCREMENT=10."),
    ("IM4D_DEBUG", "1: show the traceback of an error."),
    ("NUMBA_CACHE_DIR", "Folder for compiled kernels; set it where neither the installation nor the home can be written."),
    ("SOURCE_DATE_EPOCH", "Seconds since 1970, written as the time of making: runs can then be compared byte for byte."),
    ("NO_COLOR", "Not empty: no colours."),
)
FILES = (
    ("im4d.toml", "Settings, in this folder or above: shared options at the top level, a section per command."),
    ("NAME.hed, NAME.img", "An IMAGIC file: headers and densities. One half, or the bare NAME, names the pair."),
    ("NAME.mrc, NAME.mrcs, NAME.map", "MRC file; poses travel in NAME.star."),
)


#: Commands that have IMAGIC's own name.
SAME_NAME = frozenset(name for name in registry.TABLE if name.startswith("threed-"))


class Page:
    """What is to be said about one command.

    Attributes
    ----------
    name, title : str
        ``"copy"``, and the first line of its help.
    body, examples : list of str
        Paragraphs (a leading ``\\b`` keeps lines), and the lines of the Examples block.
    arguments, options : list of (str, str)
    words : str
        Header words read and written.
    aliases : tuple of str
        IMAGIC's names.
    related : list of str
        Commands named after "See also:".
    """

    def __init__(self, name: str, info: dict[str, Any], command: click.Command, ctx: click.Context) -> None:
        entry = registry.TABLE.get(name)
        paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(info["help"] or ""))
        self.name = name
        self.title = " ".join(paragraphs[0].split())
        self.related = [
            " ".join(w.strip(" .\n").split()) for p in paragraphs[1:] if p.startswith("See also:") for w in p[9:].split(",")
        ]
        text = [p for p in paragraphs[1:] if not _is_examples(p) and not p.startswith("See also:")]
        self.body, self.words = _header_words(text)
        self.words = self.words or headerwords.WORDS.get(name, "")
        blocks = [p for p in paragraphs[1:] if _is_examples(p)]
        self.examples = [line.strip() for p in blocks for line in p.split("Examples:", 1)[1].splitlines() if line.strip()]
        self.usage = " ".join(command.collect_usage_pieces(ctx))
        params = {p.name: p for p in command.params}
        shown = [params[p["name"]] for p in info["params"] if p["name"] in params and not p.get("hidden")]
        self.arguments = [(p.make_metavar(ctx), getattr(p, "help", "") or "") for p in shown if isinstance(p, click.Argument)]
        self.options = [_option(p, ctx) for p in shown if isinstance(p, click.Option)]
        self.aliases = entry.aliases if entry else ()
        self.group = entry.group if entry else ""


def _dashed(name: str) -> str:
    """``msa run`` as it stands in file names and anchors."""
    return name.replace(" ", "-")


def _header_words(body: list[str]) -> tuple[list[str], str]:
    """The body without, and the text of, what begins with "Header words read:" or the like; it is a section of its own."""
    kept, words = [], []
    for paragraph in body:
        match = re.search(r"(?:^|(?<=\s))Header words(?: read| written| read and written)?:", paragraph)
        if match and not paragraph.startswith("\b"):
            words.append(" ".join(paragraph[match.start() :].split()).removeprefix("Header words").lstrip(": "))
            paragraph = paragraph[: match.start()].rstrip()
        if paragraph:
            kept.append(paragraph)
    return kept, " ".join(text[:1].upper() + text[1:] for text in words)


def imagic_name(page: "Page") -> str:
    """IMAGIC's names of a command, as said in its page."""
    names = [a.upper() for a in page.aliases]
    if page.name in SAME_NAME:
        names.insert(0, page.name.upper())
    if page.name.startswith("header "):
        names.append("HEADERS")
    return ", ".join(names)


def _is_examples(paragraph: str) -> bool:
    return paragraph.removeprefix("\b").lstrip().startswith("Examples:")


def _option(param: click.Parameter, ctx: click.Context) -> tuple[str, str]:
    """Names with metavar, and help with default, range and IMAGIC's words."""
    record = param.get_help_record(ctx)
    names, help_ = record if record else ("", "")
    imagic = getattr(param.type, "imagic", None)
    if imagic:
        help_ += " IMAGIC: " + ", ".join(f"{theirs} = {ours}" for theirs, ours in imagic.items()) + "."
    return names, help_


def pages() -> tuple[Page, list[Page]]:
    """The page of the group, and those of its commands."""
    from imagic4d_cli.main import cli

    with click.Context(cli, info_name="im4d", **cli.context_settings) as ctx:
        info = ctx.to_info_dict()["command"]
        subs = []
        for name in cli.list_commands(ctx):
            command = cli.get_command(ctx, name)
            if command is not None:
                sub = click.Context(command, info_name=name, parent=ctx)
                subs.append(Page(name, info["commands"][name], command, sub))
        top = Page("", info, cli, ctx)
    return top, subs


def _roff(text: str) -> str:
    """Escape for roff: backslash, hyphen (so that options can be copied), quotes and dots at the start of a line."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("å", r"\[oa]").replace("Å", r"\[oA]")
    text = text.replace("|", "|\\:")  # long lists of words may be broken
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.splitlines())


def _section(name: str, items: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> list[str]:
    out = [f".SH {name}"]
    for term, text in items:
        out += [".TP", f"\\fB{_roff(term)}\\fR", _roff(" ".join(text.split())) or "\\&"]
    return out if items else []


def _literal(lines: list[str]) -> list[str]:
    return [".nf", ".RS 4", *(_roff(line) for line in lines), ".RE", ".fi"]


def man_page(page: Page, see_also: list[str], release: str) -> str:
    """One page in roff."""
    title = f"im4d {page.name}".strip()
    dashed = title.replace(" ", "-")
    out = [
        f'.TH "{_roff(dashed.upper())}" "1" "{_roff(RELEASE_DATE)}" "im4d {release}" "im4d manual"',
        ".ad l",
        ".nh",
        ".SH NAME",
        f"{_roff(dashed)} \\- {_roff(page.title.rstrip('.'))}",
        ".SH SYNOPSIS",
        f"\\fB{_roff(title)}\\fR {_roff(page.usage)}",
        ".SH DESCRIPTION",
        _roff(page.title),
    ]
    for paragraph in page.body:
        out.append(".PP")
        if paragraph.startswith("\b"):
            out += _literal(paragraph.removeprefix("\b").strip("\n").splitlines())
        else:
            out.append(_roff(" ".join(paragraph.split())))
    if page.words:
        out += [".SH HEADER WORDS", _roff(page.words), ".PP", "Numbers and names of all words: docs/header\\-words.md."]
    if page.name:
        out += [".SH IMAGIC NAME", _roff(imagic_name(page) or "None of its own.")]
    out += _section("ARGUMENTS", page.arguments) + _section("OPTIONS", page.options)
    out += _section("EXIT STATUS", [(str(row.code), row.meaning[0].upper() + row.meaning[1:] + ".") for row in exits.TABLE])
    out += _section("ENVIRONMENT", ENVIRONMENT) + _section("FILES", FILES)
    if page.examples:
        out += [".SH EXAMPLES", *_literal(page.examples)]
    out += [".SH SEE ALSO", ",\n".join(f"\\fB{_roff(name)}\\fR(1)" for name in see_also if name != dashed)]
    return "\n".join(line for line in out if line) + "\n"


def markdown(top: Page, subs: list[Page]) -> str:
    """docs/cli.md."""
    out = ["# Command reference", "", "Made by `make generate` from the commands; `im4d COMMAND --help` says the same.", ""]
    out += [top.title, "", "| command | IMAGIC name | does |", "|---|---|---|"]
    for page in subs:
        out.append(f"| [{page.name}](#im4d-{_dashed(page.name)}) | {', '.join(page.aliases)} | {page.title} |")
    out += ["", "## Options of every command", "", *_table("option", top.options)]
    out += ["", "## Exit status", "", *_table("code", [(str(row.code), row.meaning) for row in exits.TABLE])]
    out += ["", "## Environment", "", *_table("variable", list(ENVIRONMENT))]
    out += ["", "## Files", "", *_table("file", list(FILES))]
    for page in subs:
        out += ["", f"## im4d {page.name}", "", f"    im4d {page.name} {page.usage}", "", page.title]
        for paragraph in page.body:
            if paragraph.startswith("\b"):
                out += ["", "```", *paragraph.removeprefix("\b").strip("\n").splitlines(), "```"]
            else:
                out += ["", paragraph]
        if page.words:
            out += ["", "Header words: " + page.words[:1].lower() + page.words[1:]]
        if imagic_name(page):
            out += ["", f"IMAGIC name: {imagic_name(page)}"]
        if page.arguments:
            out += ["", *_table("argument", page.arguments)]
        out += ["", *_table("option", page.options)]
        if page.examples:
            out += ["", "```bash", *page.examples, "```"]
        related = [f"[{name}](#im4d-{_dashed(name)})" for name in page.related if name in registry.TABLE]
        if related:
            out += ["", "See also: " + ", ".join(related)]
    return "\n".join(out) + "\n"


def header_words() -> str:
    """docs/header-words.md."""
    from imagic4d_core.io.header import TAG, WORDS

    kinds = {"I": "integer", "F": "real"}
    out = ["# Header words", "", "Made by `make generate` from the one table that the readers and writers use.", ""]
    out += ["Each image, and each section of a volume, has a header of 256 words of 4 bytes. Words 79 to 93, which IMAGIC no"]
    out += [f"longer uses, are im4d's own; they count only where word 79 is 0x{TAG:08X} (the bytes `IM4D`).", ""]
    out += ["| word | name | type | meaning |", "|---|---|---|---|"]
    for word in WORDS:
        length = int(word.type[1:]) // 4 if word.type[0] == "C" else word.length
        number = str(word.number) if length == 1 else f"{word.number} to {word.number + length - 1}"
        kind = f"{word.type[1:]} characters" if word.type[0] == "C" else kinds[word.type]
        out.append(f"| {number} | {word.name} | {kind} | {word.meaning} |")
    return "\n".join(out) + "\n"


def _table(head: str, items: list[tuple[str, str]]) -> list[str]:
    def cell(text: str) -> str:
        return " ".join(text.split()).replace("|", "\\|")

    return [f"| {head} | |", "|---|---|", *(f"| `{cell(name)}` | {cell(text)} |" for name, text in items)]


def build() -> dict[str, str]:
    """All generated files: path in the checkout -> text."""
    from imagic4d_cli.main import cli
    from imagic4d_core import __version__

    top, subs = pages()
    names = ["im4d", *(f"im4d-{_dashed(p.name)}" for p in subs)]
    files = {"docs/cli.md": markdown(top, subs), "docs/header-words.md": header_words()}
    files["man/man1/im4d.1"] = man_page(top, names, __version__)
    for page in subs:
        related = [f"im4d-{_dashed(name)}" for name in page.related if name in registry.TABLE]
        files[f"man/man1/im4d-{_dashed(page.name)}.1"] = man_page(page, ["im4d", *related], __version__)
    if version("click").startswith(CLICK + "."):
        for shell, name in SHELLS.items():
            source = get_completion_class(shell)
            if source is not None:
                files[f"completions/{name}"] = source(cli, {}, "im4d", "_IM4D_COMPLETE").source().strip() + "\n"
    return files


def _present(root: Path) -> set[str]:
    return {str(p.relative_to(root)) for folder in ("man/man1", "completions") for p in (root / folder).glob("*") if p.is_file()}


def check(root: Path) -> list[str]:
    """What differs between the checkout and `build`: lines of a diff, empty when nothing does."""
    out: list[str] = []
    files = build()
    for path, text in files.items():
        target = root / path
        old = target.read_text(encoding="utf-8") if target.is_file() else ""
        if old != text:
            names = f"{path} (committed)", f"{path} (now)"
            out += difflib.unified_diff(old.splitlines(), text.splitlines(), *names, lineterm="", n=1)
    stale = _present(root) - set(files) - {f"completions/{name}" for name in SHELLS.values()}
    return out + [f"{path}: no command has this page any more" for path in sorted(stale)]


def write(root: Path) -> None:
    """Write all generated files, remove pages of commands that are gone."""
    files = build()
    for path, text in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    for path in _present(root) - set(files) - {f"completions/{name}" for name in SHELLS.values()}:
        (root / path).unlink()


def main() -> int:
    """Entry point of ``python -m imagic4d_cli.docgen``."""
    root = Path(__file__).resolve().parent.parent
    if "--check" not in sys.argv[1:]:
        write(root)
        return exits.DONE
    difference = check(root)
    for line in difference:
        print(line)
    if difference:
        print("generated files are not up to date: run `make generate`", file=sys.stderr)
    return exits.NO if difference else exits.DONE


if __name__ == "__main__":
    sys.exit(main())
