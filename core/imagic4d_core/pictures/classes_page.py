"""The report of a classification run as one HTML page: no network, tables that can be sorted."""

from collections.abc import Mapping, Sequence
from typing import Any

from imagic4d_core.pictures.curves import stability_figure
from imagic4d_core.pictures.page import _e, _figure, _num, _section, html_document, table
from imagic4d_core.pictures.png import data_uri
from imagic4d_core.pictures.style import figure_svg, figures


def classes_page(summary: Mapping[str, Any], journal: Sequence[Mapping[str, Any]], montage: bytes, shown: int) -> str:
    """HTML text of the report.

    Parameters
    ----------
    summary, journal : as summary.json and the lines of journal.jsonl
    montage : bytes
        PNG of the class averages.
    shown : int
        How many of them it shows.
    """
    sizes = summary["sizes"]
    said = [("good" if summary["converged"] else "note", "The classes are stable." if summary["converged"] else
             "The last iteration allowed was reached before the classes were stable.")]  # fmt: skip
    said += [("bad", text) for text in summary["warnings"]]
    items = "".join(f'<li class="{kind}">{_e(text)}</li>' for kind, text in said)
    head = (
        f'<h1>{_e(summary["input"])}</h1>\n<p class="sub">Alignment by classification</p>\n<div class="said">'
        f'<p class="first">{summary["images"]} images in {len(sizes)} classes of {min(sizes)} to {max(sizes)}, after '
        f"{summary['iterations']} iterations.</p><ul>{items}</ul></div>"
    )
    with figures():
        curves = figure_svg(stability_figure(journal), "stability", "Stability and sizes of the classes")
    rows = [
        [str(e["iteration"]), _num(e["stability"]), _num(e.get("correlation")), _num(e.get("turned"), ".1f"),
         _num(e.get("shifted"), ".2f"), _num(e.get("mirrored"), "d")]
        for e in journal
    ]  # fmt: skip
    names = ["iteration", "agreement", "correlation", "turned, degrees rms", "shifted, pixels rms", "mirrored"]
    caption = "Class averages; n: members. " + ("" if shown == len(sizes) else f"The first {shown} of {len(sizes)}.")
    said_of = (
        "Agreement: adjusted Rand index of the classes of two iterations, 1 where all images stay together. Turned and shifted: "
        "how far images moved against the original."
    )
    settings = table(["setting", "value"], [[_e(k), _e(v)] for k, v in summary["settings"].items()], text=(0, 1))
    body = "\n".join(
        [
            head,
            _section("Class averages", "averages", _figure(f'<img alt="Class averages" style="max-width:100%" '
                                                          f'src="{data_uri(montage)}">', caption)),
            _section("Iterations", "iterations", _figure(curves, said_of), table(names, rows)),
            _section("Settings", "settings", settings),
        ]
    )  # fmt: skip
    return html_document(f"im4d classify2d: {summary['input']}", body, "classify2d")
