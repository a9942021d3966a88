"""The report of a run: complete, self-contained, repeatable, and honest about what is missing."""

import html
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import Browser
from fake_run import fake_run, write_rundir

from imagic4d_core.competition.advice import NEXT, advice
from imagic4d_core.competition.verdict import WORDS
from imagic4d_core.errors import InputError, MismatchError, OutputError
from imagic4d_core.io.stack import write_stack
from imagic4d_core.jobs.report.reporting import read_journal, read_run, report
from imagic4d_core.pictures.overview import overview_figure
from imagic4d_core.pictures.page import html_document, report_page, table

SECTIONS = ("volumes", "fsc", "convergence", "orientations", "examples", "confidence", "events", "settings")
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags close in order, and collects ids, addresses and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.addresses, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self._look(attrs)

    def handle_startendtag(self, tag, attrs):
        self._look(attrs)

    def _look(self, attrs):
        names = [k for k, _ in attrs]
        assert len(names) == len(set(names)), names
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in ("src", "href", "xlink:href", "action", "data"):
                self.addresses.append(value)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] != ["script"]:
            self.text.append(data)

    def words(self):
        return " ".join(" ".join(self.text).split())


def check_page(text):
    page = Page(text)
    assert len(page.ids) == len(set(page.ids)), "ids are not unique"
    assert set(SECTIONS) <= set(page.ids)
    assert all(a.startswith(("data:image/png;base64,", "#")) for a in page.addresses)
    assert all(a[1:] in page.ids for a in page.addresses if a.startswith("#"))
    assert text.count("<script>") == 1
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    for foreign in ("http:", "https:", "<script ", "@import", "url(//", "/work", "/tmp"):
        assert foreign not in text
    return page


@pytest.fixture(scope="module")
def rundir(tmp_path_factory):
    return write_rundir(fake_run(3, 60), tmp_path_factory.mktemp("report") / "run1")


def test_each_3d_is_laid_on_its_truth(rundir):
    run = read_run(rundir, truth=str(rundir / "truth.hed"), truth_volumes=str(rundir / "models.hed"))
    truth = run.truth
    assert truth.matches == {1: 1, 2: 2, 3: 3}
    assert [truth.pairs[k]["hand"] for k in (1, 2, 3)] == ["same", "other", "same"]
    for k, curve in enumerate(truth.curves):
        assert min(curve["fsc"][1:6]) > 0.9, curve
        a, b = (t.projections[0].astype(float).ravel() for t in (run.volumes[k], truth.tiles[k + 1]))
        assert np.corrcoef(a, b)[0, 1] > 0.9


def test_true_volumes_alone_are_matched_by_looks(small):
    run = read_run(small, truth_volumes=str(small / "models.hed"))
    assert sorted(run.truth.matches) == [1, 2] and set(run.truth.matches.values()) <= {1, 2}
    assert len(run.truth.tiles) == 2 and not run.truth.scores


def test_first_screen_says_the_verdict_of_each_3d(tmp_path):
    made = fake_run(3, 30, 16)
    words = ["right", "not reproduced", "right"]
    for v, word in zip(made.summary["volumes"], words, strict=True):
        v["verdict"], v["why"] = word, "nearest: 50 % of the images in common"
        v["evidence"] = {"runs": 5, "again": 2 * (word == "right")}
    folder = write_rundir(made, tmp_path / "run1")
    report(folder)
    text = (folder / "report.html").read_text()
    first = check_page(text).words()
    first = first[: first.index("The 3Ds")]
    assert first.count("found again by 2 of 4 other runs") == 2 and "found again by 0 of 4 other runs" in first
    assert "3D 1, 3D 3, right: Compare images with re-projections" in first
    assert "3D 2, not reproduced: Do not believe it yet" in first
    assert text.count('<article class="card good"><img') == 2 and text.count('<article class="card bad"><img') == 1
    assert "Memberships are above chance" not in first
    figure = overview_figure(read_run(folder))
    shown = [t.get_text() for t in figure.texts]
    assert shown.count("right") == 2 and "not\nreproduced" in shown and shown.count("again in\n2 of 4 runs") == 2


def test_every_word_of_the_verdict_has_advice():
    assert set(WORDS) <= set(NEXT)
    assert [(k, w) for k, w, _ in advice(["right", "noise", "right", "unheard of"])] == [([1, 3], "right"), ([2], "noise")]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return write_rundir(fake_run(2, 12, 16), tmp_path_factory.mktemp("small") / "run1")


def test_complete_run_with_truth(rundir, tmp_path):
    page = tmp_path / "r.html"
    done = report(rundir, truth=str(rundir / "truth.hed"), truth_volumes=str(rundir / "models.hed"), output=page)
    assert (done.volumes, done.images, done.missing) == (3, 60, [])
    assert (tmp_path / "r.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    seen = check_page(page.read_text(encoding="utf-8"))
    assert "truth" in seen.ids
    words = seen.words()
    for expected in (
        "both hands are possible from projections alone",
        "halves share references: not independent",
        "Memberships are above chance",
        "best by CCC3D",
        "worst by CCC3D",
        "correlation 0.97 between the two",
        "search.increment",
        "FSC of each 3D against its true volume",
        "truth 3",
        "images in the right 3D",
        "hand of the truth",
        "averages.hed",
    ):
        assert expected in words, expected
    assert "Not shown" not in words


def test_same_bytes_twice_and_date_only_on_demand(small, tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    for name in "ab":
        report(small, output=tmp_path / f"{name}.html")
    for end in ("html", "png"):
        assert (tmp_path / f"a.{end}").read_bytes() == (tmp_path / f"b.{end}").read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    dated, plain = report_page(read_run(small)), (tmp_path / "a.html").read_text(encoding="utf-8")
    assert dated.replace(" 1970-01-02.", "") == plain


@pytest.mark.parametrize("gone", ["summary.json", "fsc.json", "journal.jsonl", "volumes.img", "images.hed", "reprojections.hed"])
def test_missing_files_are_named(small, tmp_path, gone):
    copy = tmp_path / "run"
    shutil.copytree(small, copy)
    (copy / gone).unlink()
    run, name = read_run(copy), gone.partition(".")[0]
    assert any(name in m for m in run.missing), run.missing
    assert name in check_page(report_page(run).replace(str(tmp_path), "")).words()


def test_only_a_summary(tmp_path):
    run = fake_run(2, 20, noise=True)
    folder = tmp_path / "run"
    write_rundir(run, folder)
    for path in folder.iterdir():
        if path.name != "summary.json":
            path.unlink()
    done = report(folder)
    assert done.volumes == 0 and len(done.missing) >= 4
    assert (
        "not above chance" in check_page((folder / "report.html").read_text(encoding="utf-8").replace(str(tmp_path), "")).words()
    )


@pytest.mark.parametrize(("count", "box", "size"), [(1, 33, None), (5, 20, 2.0)])
def test_other_numbers_of_volumes(tmp_path, count, box, size):
    folder = write_rundir(fake_run(count, 40, box, pixel_size=size), tmp_path / "run")
    assert report(folder).volumes == count
    words = check_page((folder / "report.html").read_text(encoding="utf-8")).words()
    assert ("One 3D only" in words) == (count == 1)
    assert ("Å" in words) == (size is not None)


def test_journal_cut_short_by_a_crash(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text(
        '{"iteration": 1, "moved": 0.5}\n{"iteration": 2}\n{"iteration": 2, "moved": 0.1}\n{"iterat', encoding="utf-8"
    )
    notes = []
    assert [e.get("moved") for e in read_journal(path, notes)] == [0.5, 0.1]
    assert len(notes) == 1


def test_faults_are_named_and_nothing_is_written(rundir, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        report(tmp_path / "none")
    with pytest.raises(InputError, match="not the folder of a refine run"):
        report(tmp_path)
    out = tmp_path / "x.html"
    write_stack(tmp_path / "few.hed", np.zeros((4, 32, 32), np.float32))
    with pytest.raises(MismatchError, match="4 images, but the run has 60"):
        report(rundir, truth=str(tmp_path / "few.hed"), output=out)
    write_stack(tmp_path / "small.hed", np.zeros((2, 16, 16, 16), np.float32))
    with pytest.raises(MismatchError, match="same box"):
        report(rundir, truth_volumes=str(tmp_path / "small.hed"), output=out)
    with pytest.raises(InputError):
        report(rundir, truth=str(tmp_path / "none.hed"), output=out)
    assert not out.exists() and not out.with_suffix(".png").exists()
    out.with_suffix(".png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        report(rundir, output=out)
    assert out.with_suffix(".png").read_bytes() == b"mine" and not out.exists()


FIRST = "[...document.querySelectorAll('#volumes td:first-child')].map(c => c.textContent)"
HEADS = "document.querySelectorAll('#volumes th')"


@pytest.fixture(scope="module")
def page(rundir, tmp_path_factory):
    made = tmp_path_factory.mktemp("page") / "r.html"
    report(rundir, truth=str(rundir / "truth.hed"), output=made)
    return made


def test_a_browser_draws_and_sorts_the_page(page, rundir, tmp_path):
    sizes = {f"3D {v['number']}": v["images"] for v in read_run(rundir).summary["volumes"]}
    up = sorted(sizes, key=sizes.__getitem__)
    with Browser(page, tmp_path / "profile", height=3000) as browser:
        assert not browser.errors
        draw_and_look(browser, tmp_path / "shot.png")
        written = browser.value(FIRST)
        assert written == ["3D 1", "3D 2", "3D 3"] != up
        images = f"{HEADS}[1].querySelector('button')"
        browser.click(images)
        assert browser.value(FIRST) == up and browser.value(f"{HEADS}[1].ariaSort") == "ascending"
        browser.key("Enter", 13, "\r")  # the head that was pressed has the focus
        assert browser.value(FIRST) == up[::-1] and browser.value(f"{HEADS}[1].ariaSort") == "descending"
        browser.key("Enter", 13, "\r")
        assert browser.value(FIRST) == written and browser.value(f"{HEADS}[1].ariaSort") is None
        browser.key("Tab", 9)
        assert browser.value(f"document.activeElement === {HEADS}[2].querySelector('button')")
        browser.key(" ", 32, " ")
        assert browser.value(f"{HEADS}[2].ariaSort") == "ascending"
        draw_and_look(browser, tmp_path / "sorted.png")
        assert not browser.errors


def draw_and_look(browser, path):
    from matplotlib.image import imread

    browser.value("scrollTo(0, 0)")
    picture = imread(browser.picture(path))[..., :3]
    assert picture.shape[1] == 1200
    # ink in every part of the page: head, 3Ds, curves
    for top in range(0, len(picture) - 600, 600):
        assert picture[top : top + 600].std() > 0.02
    # nothing runs over the right margin
    assert picture[:, 1190:].std() < 0.01


def test_numbers_are_sorted_as_numbers_and_dashes_stay_last(tmp_path):
    cells = ["10", "9.5", "\u2212 ", "\u22122", "1e3", "\u2013", "1\u202f200", "0.66 (9.09 \u00c5)", "70 %", "-.5\u00b0"]
    cells[2] = "2"
    words = ["3D 10", "3D 2", "no 3D", "b", "A", "a", "\u2013", "", "c", "3D 1"]
    rows = [[html.escape(c), html.escape(w), f"<b>{k}</b>"] for k, (c, w) in enumerate(zip(cells, words, strict=True))]
    page = tmp_path / "t.html"
    page.write_text(html_document("t", table(["n", "w", "k"], rows) + table(["one"], [["1"]]), "report"), encoding="utf-8")

    def order(browser, column):
        browser.click(f"document.querySelectorAll('th')[{column}].querySelector('button')")
        return [int(k) for k in browser.value("[...document.querySelectorAll('td:nth-child(3)')].map(c => c.textContent)")]

    with Browser(page, tmp_path / "profile") as browser:
        assert order(browser, 0) == [3, 9, 7, 2, 1, 0, 8, 4, 6, 5]
        assert order(browser, 0) == [6, 4, 8, 0, 1, 2, 7, 9, 3, 5]
        assert order(browser, 1) == [9, 1, 0, 4, 5, 3, 8, 2, 6, 7]
        assert order(browser, 1) == [2, 8, 3, 4, 5, 0, 1, 9, 6, 7]
        assert order(browser, 1) == list(range(10))
        assert browser.value("document.querySelectorAll('th button').length") == 3  # a single row needs no sorting


def test_page_reads_without_scripts(page, tmp_path):
    with Browser(page, tmp_path / "on", height=600) as browser:
        text = browser.value("document.body.innerText")
    with Browser(page, tmp_path / "off", height=600, scripts=False) as browser:
        assert browser.value("document.querySelectorAll('th button').length") == 0
        assert browser.value("document.body.innerText") == text
