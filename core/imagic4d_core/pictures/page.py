"""The report of a run as one HTML page: no network, tables that can be sorted, the same bytes for the same run."""

import html
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from imagic4d_core.pictures.css import CSS
from imagic4d_core.pictures.curves import confidence_figure, convergence_figure, fsc_figure
from imagic4d_core.pictures.png import data_uri, encode_png
from imagic4d_core.pictures.rundata import Run, VolumeTiles, plain_words
from imagic4d_core.pictures.sorting import SCRIPT
from imagic4d_core.pictures.sphere import orientation_figure
from imagic4d_core.pictures.style import colour_of, figure_svg, figures
from imagic4d_core.pictures.verdict import verdict_cards


def _e(text: Any) -> str:
    return html.escape(str(text), quote=True)


def _img(picture: np.ndarray, alt: str) -> str:
    return f'<img alt="{_e(alt)}" src="{data_uri(encode_png(picture))}">'


def _num(value: Any, form: str = ".3f", empty: str = "–") -> str:
    """A number, or a dash where there is none."""
    if value is None or isinstance(value, bool):
        return empty
    try:
        return format(value, form) if np.isfinite(value) else empty
    except (TypeError, ValueError):
        return _e(value)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = ()) -> str:
    """HTML table; cells are HTML already. Columns in `text` are set to the left."""

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=' + chr(34) + 'text' + chr(34) if k in text else ''}>{c}</{tag}>" for k, c in enumerate(row)
        )

    body = "\n".join(f"<tr>{cells(r, 'td')}</tr>" for r in rows)
    return f'<div class="wide"><table><thead><tr>{cells(head, "th")}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _name(number: int) -> str:
    return f'<span class="dot" style="background:{colour_of(number)}"></span>3D {number}' if number > 0 else "no 3D"


def _section(title: str, anchor: str, *parts: str) -> str:
    return f'<section id="{anchor}">\n<h2>{_e(title)}</h2>\n' + "\n".join(p for p in parts if p) + "\n</section>"


def _figure(body: str, caption: str) -> str:
    return f"<figure>{body}<figcaption>{caption}</figcaption></figure>"


def _gone(text: str) -> str:
    return f'<p class="gone">Not shown: {_e(text)}</p>'


def _freq(value: Any, pixel_size: float | None) -> str:
    """A frequency as fraction of Nyquist, with ångström where the pixel size is known."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not np.isfinite(value):
        return "–"
    if pixel_size and value > 0:
        return f"{value:.2f} ({2 * pixel_size / value:#.3g} Å)"
    return f"{value:.2f}"


def _head(run: Run) -> str:
    s = run.summary
    facts = []
    for key, words in (("images", "{:,} images"), ("box", "box {}"), ("iterations", "{} iterations"), ("seed", "seed {}")):
        if s.get(key) is not None:
            # a narrow space between thousands
            facts.append(words.format(s[key]).replace(",", "\u202f"))
    if run.pixel_size:
        facts.insert(2, f"{run.pixel_size:g} Å per pixel")
    source = f" of {_e(s['input'])}" if s.get("input") else ""
    said = f'<p class="first">{_e(s["statement"])}</p>' if s.get("statement") else ""
    items = "".join(f'<li class="{kind}">{_e(text)}</li>' for kind, text in plain_words(run))
    truth = ""
    if run.truth and run.truth.scores:
        truth = "<p>Against the truth: " + ", ".join(f"{_e(k)} <b>{_e(v)}</b>" for k, v in run.truth.scores) + ".</p>"
    missing = "".join(f"<li>{_e(m)}</li>" for m in run.missing)
    missing = (
        '<div class="said"><p>Some files of this run are missing or cannot be read; the page shows the rest.</p>'
        f"<ul>{missing}</ul></div>"
        if missing
        else ""
    )
    return (
        f'<h1>4D refinement{source}</h1>\n<p class="sub">{_e(run.name)} · {" · ".join(_e(f) for f in facts)}</p>\n'
        f'<div class="said">{said}{truth}</div>\n{verdict_cards(run)}\n<div class="said"><ul>{items}</ul></div>\n{missing}'
    )


def _volume_table(run: Run) -> str:
    rows = []
    for v in run.summary.get("volumes") or []:
        number = int(v.get("number", 0))
        remarks = []
        if v.get("duplicate_of"):
            remarks.append(f"duplicate of 3D {_e(v['duplicate_of'])}")
        if v.get("poor"):
            remarks.append("poor")
        fraction = v.get("fraction")
        rows.append(
            [
                _name(number),
                _num(v.get("images"), "d") if isinstance(v.get("images"), int) else _num(v.get("images"), ".0f"),
                _num(100 * fraction if isinstance(fraction, (int, float)) else None, ".1f"),
                _freq(v.get("half_bit"), run.pixel_size),
                _freq(v.get("fsc0143"), run.pixel_size),
                _freq(v.get("fsc05"), run.pixel_size),
                _num(v.get("ccc")),
                _num(v.get("confidence")),
                _num((v.get("views") or {}).get("scf"), ".2f"),
                _num((v.get("views") or {}).get("cfar"), ".2f"),
                ", ".join(remarks) or "–",
            ]
        )
    if not rows:
        return _gone("summary.json lists no 3Ds.")
    head = ["3D", "images", "%", "half-bit", "FSC 0.143", "FSC 0.5", "mean CCC", "mean confidence", "SCF*", "cFAR", "remarks"]
    unit = "frequency as a fraction of Nyquist" + (" and resolution in ångström" if run.pixel_size else "")
    return (
        table(head, rows, text=(10,))
        + f'<p class="cap">half-bit, FSC 0.143, FSC 0.5: where the half sets fall below that threshold, {unit}. SCF*: how evenly '
        "views cover Fourier space, 1 even, 0.81 all around an axis, near 0 seen along one axis only. cFAR: the poorest over the "
        "best direction by the FSC in cones.</p>"
    )


def _tiles(t: VolumeTiles, who: str) -> str:
    names = [
        "surface from +z",
        "surface from −x",
        "section ⊥ z",
        "section ⊥ x",
        "section ⊥ y",
        "sum along z",
        "sum along x",
        "sum along y",
    ]
    cells = "".join(
        f"<figure>{_img(p, f'{who}, {name}')}<figcaption>{name}</figcaption></figure>"
        for p, name in zip([*t.surfaces, *t.sections, *t.projections], names, strict=True)
    )
    return f'<div class="tiles"><div class="who">{_e(who)}{": " + _e(t.caption) if t.caption else ""}</div>{cells}</div>'


def _volumes(run: Run) -> str:
    if not run.volumes:
        return _gone("volumes.hed/.img is not there or cannot be read.")
    described = {int(v.get("number", 0)): v for v in run.summary.get("volumes") or []}
    parts = []
    for t in run.volumes:
        v = described.get(t.number, {})
        words = []
        if v.get("images") is not None:
            words.append(f"{v['images']} images")
        if isinstance(v.get("half_bit"), (int, float)):
            words.append(f"half-bit at {_freq(v['half_bit'], run.pixel_size)}")
        if v.get("duplicate_of"):
            words.append(f"duplicate of 3D {v['duplicate_of']}")
        if v.get("poor"):
            words.append("poor")
        true = run.truth.tiles.get(t.number) if run.truth else None
        body = _tiles(t, "reconstruction" if true else f"3D {t.number}")
        if true:
            body += _tiles(true, f"truth {true.number}")
        parts.append(f'<div class="vol"><h3>{_name(t.number)}<span class="cap">{_e(", ".join(words))}</span></h3>{body}</div>')
    note = (
        "Surfaces enclose the density above a level found by Otsu's criterion; sections go through the centre of the box; "
        "x runs down the lines of a file, y along its pixels, z through its sections. All 3Ds are shown at "
        "one scale; only the central part "
        "of the box that holds the object is drawn."
    )
    if not (run.truth and run.truth.tiles):
        note += " Each 3D has a frame of its own: their orientations cannot be compared."
    else:
        note += " Each 3D has been turned, shifted and, where needed, mirrored onto its truth, which stands under it."
    return "\n".join(parts) + f'<p class="cap">{note}</p>'


def _fsc(run: Run) -> str:
    parts = []
    curves = run.fsc.get("volumes") or []
    if curves:
        figure = fsc_figure(curves, run.pixel_size)
        words = "FSC of the two half sets of each 3D. Dotted: half-bit threshold of the first 3D; dashed: 0.5 and 0.143."
        if not run.fsc.get("independent", False):
            words += " The halves share references: not independent, so the curves are optimistic."
        parts.append(_figure(figure_svg(figure, "fsc", "Fourier shell correlation of half sets"), words))
    else:
        parts.append(_gone("fsc.json is not there or holds no curves."))
    if run.truth and run.truth.curves:
        figure = fsc_figure(run.truth.curves, run.pixel_size)
        words = "FSC of each 3D against its true volume after alignment: the curve that cannot flatter."
        parts.append(_figure(figure_svg(figure, "fsct", "Fourier shell correlation against the truth"), words))
    return f'<div class="beside">{"".join(parts)}</div>'


def _convergence(run: Run) -> str:
    if not run.journal:
        return _gone("journal.jsonl is not there or empty.")
    figure = convergence_figure(run.journal, run.truth.sizes if run.truth else None)
    words = (
        "Left: images in each 3D, stacked, by iteration. Middle: images whose membership changed, and the "
        "median change of their Euler angles. "
        "Right: frequency where each 3D's halves fall to FSC 0.5, with the band limit of the search. "
        "Signs above the frame: ✕ a 3D was killed (of runs of earlier versions ∧ two were merged, ∨ one was split)."
    )
    if run.truth and run.truth.sizes:
        words += " Dashed lines at the left: the true populations, in the order of the 3Ds they belong to."
    return _figure(figure_svg(figure, "conv", "Class sizes, moves and resolution by iteration"), words)


def _orientations(run: Run) -> str:
    if not run.directions:
        return _gone("images.hed/.img carries no Euler angles.")
    figure = orientation_figure(run.directions, columns=3)
    words = (
        "View directions on two hemispheres in equal-area projection (x down, y to the right; circles at 30° "
        "and 60° from the pole). "
        "Grey: density against uniform; points: single images (where a 3D has no more than 1500). "
        "A blank region is a view that no image shows."
    )
    return _figure(figure_svg(figure, "ori", "Orientation maps"), words)


def _examples(run: Run) -> str:
    if not run.examples:
        return _gone("images or re-projections are not there.")
    parts = []
    for group in dict.fromkeys(e.group for e in run.examples):
        chosen = [e for e in run.examples if e.group == group]
        cells = "".join(
            f'<figure><div class="two">{_img(e.image, f"image {e.location}")}'
            f"{_img(e.reprojection, f're-projection {e.location}')}</div>"
            f'<figcaption><span class="dot" style="background:{colour_of(max(e.ref3d, 1))}"></span>image {e.location} · '
            f"{_num(e.ccc)}</figcaption></figure>"
            for e in chosen
        )
        parts.append(f'<h3>{_e(group)} by CCC3D</h3><div class="pairs">{cells}</div>')
    words = (
        '<p class="cap">Left: the image, moved to its found centre; right: the projection of its 3D in the found direction. '
        "Number: CCC3D; dot: colour of the 3D.</p>"
    )
    return "\n".join(parts) + words


def _confidence(run: Run) -> str:
    count = len([k for k in run.sizes if k > 0])
    if count < 2:
        return "<p>One 3D only: no second-best to compare with.</p>"
    if not np.isfinite(run.confidence).any():
        return _gone("the headers carry no confidence or margin.")
    figure = confidence_figure(run.confidence, run.margin, run.ref3d)
    low = 100 * float(np.mean(run.confidence[np.isfinite(run.confidence)] < 0.7))
    words = (
        "Left: posterior of the chosen 3D for every image, coloured by 3D. Right: how far its score stands "
        "above that of the second-best 3D. "
        f"{low:.0f} % of the images have a confidence below 0.7."
    )
    return _figure(figure_svg(figure, "conf", "Confidence and margin"), words)


def _truth(run: Run) -> str:
    t = run.truth
    if t is None:
        return ""
    parts = []
    if t.scores:
        parts.append(table(["score", "value"], [[_e(k), _e(v)] for k, v in t.scores]))
    if t.pairs:
        keys = list(dict.fromkeys(k for row in t.pairs.values() for k in row))
        rows = [[_name(n), _e(t.matches.get(n, "–")), *[_e(row.get(k, "–")) for k in keys]] for n, row in sorted(t.pairs.items())]
        parts.append(table(["3D", "truth", *keys], rows))
    if t.table is not None:
        head = ["images in", *[f"truth {c}" for c in t.columns]]
        rows = [[_name(r), *[f"{int(n)}" for n in line]] for r, line in zip(t.rows, t.table, strict=True)]
        parts.append(
            table(head, rows)
            + '<p class="cap">Rows: 3D found; columns: true 3D. One large number per row and column is what one wants.</p>'
        )
    parts += [f"<p>{_e(n)}</p>" for n in t.notes]
    return _section("Against the truth", "truth", *parts)


def _events(run: Run) -> str:
    events = run.summary.get("events")
    if events is None:
        events = [e | {"iteration": e.get("iteration", j.get("iteration"))} for j in run.journal for e in j.get("events") or []]
    if not events:
        return "<p>No 3D was killed, merged or split.</p>"

    def numbers(value: Any) -> str:
        return ", ".join(_e(v) for v in (value if isinstance(value, list) else [value]) if v is not None) or "–"

    rows = [
        [
            _num(e.get("iteration"), "d") if isinstance(e.get("iteration"), int) else "–",
            _e(e.get("what", "")),
            numbers(e.get("from")),
            numbers(e.get("to")),
            _e(e.get("why", "")),
        ]
        for e in events
    ]
    return table(["iteration", "what", "3D", "into", "why"], rows, text=(1, 2, 3, 4))


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict):
        return [pair for k in sorted(value, key=str) for pair in _flat(value[k], f"{name}.{k}" if name else str(k))]
    if isinstance(value, list) and any(isinstance(v, dict) for v in value):
        return [pair for k, v in enumerate(value, 1) for pair in _flat(v, f"{name} {k}")]
    if isinstance(value, list):
        return [(name, " ".join(str(v) for v in value))]
    return [(name, "–" if value is None else str(value))]


def _settings(run: Run) -> str:
    parts = []
    for title, values in (
        ("Settings", run.summary.get("settings")),
        ("Null distribution", run.summary.get("null")),
        ("Provenance", run.provenance),
    ):
        rows = [[_e(k), _e(v)] for k, v in _flat(values or {})]
        if rows:
            parts.append(f"<h3>{title}</h3>" + table(["name", "value"], rows, text=(1,)))
    return "\n".join(parts) or _gone("summary.json holds no settings.")


def report_page(run: Run) -> str:
    """HTML text of a run's report.

    Parameters
    ----------
    run : Run

    Returns
    -------
    str
        One self-contained page. It carries a date only where SOURCE_DATE_EPOCH gives one.
    """
    with figures():
        sections = [
            _section("The 3Ds", "volumes", _volume_table(run), _volumes(run)),
            _truth(run),
            _section("Fourier shell correlation", "fsc", _fsc(run)),
            _section("Class sizes, moves, convergence", "convergence", _convergence(run)),
            _section("Orientations", "orientations", _orientations(run)),
            _section("Images beside their re-projections", "examples", _examples(run)),
            _section("Confidence", "confidence", _confidence(run)),
            _section("Events", "events", _events(run)),
            _section("Settings and provenance", "settings", _settings(run)),
        ]
    title = f"im4d report: {run.summary.get('input') or run.name}"
    return html_document(title, _head(run) + "\n" + "\n".join(s for s in sections if s), "report")


def html_document(title: str, body: str, command: str) -> str:
    """A whole page around a body of HTML; it carries a date only where SOURCE_DATE_EPOCH gives one."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    dated = f" {datetime.fromtimestamp(int(epoch), UTC):%Y-%m-%d}." if epoch.isdigit() else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{_e(title)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<main>\n{body}\n"
        f"<footer>Written by im4d {command} from the files of the run; the page needs no network.{dated}</footer>\n"
        f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
    )
