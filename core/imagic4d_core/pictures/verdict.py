"""The verdict of a run in words, for the first screen of the report and for the picture."""

import html
from dataclasses import dataclass
from typing import Any

from imagic4d_core.competition.advice import advice
from imagic4d_core.pictures.png import data_uri, encode_png
from imagic4d_core.pictures.rundata import Run
from imagic4d_core.pictures.style import colour_of

#: Word of a verdict -> how it is marked; all others are bad.
KINDS = {"right": "good", "reproduced": "note", "not compared": "note"}
#: Beyond so many 3Ds the page shows their verdicts without pictures.
PICTURES = 12


@dataclass(frozen=True)
class Said:
    """What is said of one 3D.

    Attributes
    ----------
    word, kind : str
        The verdict, and ``good``, ``note`` or ``bad``.
    again : str
        How often it was found again; empty where there was nothing to compare with.
    size : str
        Images, share and resolution.
    why : str
    notes : list of str
        Its symmetry, where one was looked for; its views, where they are not even.
    """

    number: int
    word: str
    kind: str
    again: str
    size: str
    why: str
    notes: list[str]


def said_of(run: Run) -> list[Said]:
    """The verdicts of a run's 3Ds; empty for runs that have none."""
    return [_said(v, run.pixel_size) for v in run.summary.get("volumes") or [] if v.get("verdict")]


def _said(v: dict[str, Any], pixel_size: float | None) -> Said:
    evidence = v.get("evidence") or {}
    others = int(evidence.get("runs") or 1) - 1
    again = f"found again by {int(evidence.get('again') or 0)} of {others} other run{'s' * (others != 1)}" if others > 0 else ""
    size = [f"{v.get('images', 0)} images"]
    if v.get("fraction"):
        size[0] += f" ({100 * v['fraction']:.0f} %)"
    if v.get("half_bit"):
        angstrom = f" ({2 * pixel_size / v['half_bit']:#.3g} Å)" if pixel_size else ""
        size.append(f"half-bit at {v['half_bit']:.2f} Nyquist{angstrom}")
    why = str(v.get("why") or "")
    word = str(v["verdict"])
    kind = KINDS.get(word, "bad")
    return Said(int(v.get("number", 0)), word, kind, again, ", ".join(size), why[:1].upper() + why[1:], _notes(v))


def _notes(v: dict[str, Any]) -> list[str]:
    symmetry, views = v.get("symmetry") or {}, v.get("views") or {}
    notes = [f"Symmetry {symmetry['group']}: {symmetry['why']}"] if symmetry else []
    return notes + ([f"Views: {views['warning']}"] if views.get("warning") else [])


def verdict_cards(run: Run) -> str:
    """HTML of the verdicts, a card for each 3D, and what to do next; empty for runs without verdicts."""
    said = said_of(run)
    if not said:
        return ""
    tiles = {t.number: t for t in run.volumes} if len(said) <= PICTURES else {}
    cards = []
    for s in said:
        tile = tiles.get(s.number)
        image = "" if tile is None else f'<img alt="3D {s.number} from +z" src="{data_uri(encode_png(tile.surfaces[0]))}">'
        notes = "".join(f'<p class="cap why">{html.escape(note)}.</p>' for note in s.notes)
        cards.append(
            f'<article class="card {s.kind}">{image}<div><h3><span class="dot" style="background:{colour_of(s.number)}"></span>'
            f'3D {s.number}</h3><p class="word">{html.escape(s.word)}</p><p>{html.escape(s.again)}</p>'
            f'<p class="cap">{html.escape(s.size)}</p></div><p class="cap why">{html.escape(s.why)}.</p>{notes}</article>'
        )
    return f'<div class="cards">{"".join(cards)}</div>\n{_next(run, said)}'


def _next(run: Run, said: list[Said]) -> str:
    rows = []
    for places, word, text in advice([s.word for s in said]):
        names = ", ".join(f"3D {said[k - 1].number}" for k in places) if len(said) > len(places) else "all 3Ds"
        rows.append(f"<li><b>{html.escape(names)}, {html.escape(word)}:</b> {html.escape(text)}</li>")
    if run.summary.get("converged") is False:
        text = "memberships or poses still changed: im4d refine with more --iterations, or junk left out."
        rows.append(f"<li><b>Not converged:</b> {html.escape(text)}</li>")
    return f'<h2 class="next">What to do next</h2>\n<ul class="next">{"".join(rows)}</ul>'
