"""benchmarks/right_3ds.py at a tiny size: one line a run, resumed without work, summed up; and what it calls right."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def bench(folder, *arguments):
    command = [sys.executable, BENCHMARKS / "right_3ds.py", "--out", folder / "r.jsonl", *arguments]
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600, cwd=folder)


def test_two_cases_from_data_to_table(tmp_path):
    asked = ["--cases", "avg-k1,complexes,avg-noise", "--seeds", "3", "--box", "24", "--images", "60"]
    done = bench(tmp_path, *asked)
    assert done.returncode == 0, done.stderr
    assert "complexes: skipped, needs --maps" in done.stdout
    lines = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(r["case"], r["seed"]) for r in lines] == [("avg-k1", 3), ("avg-noise", 3)]
    first = lines[0]
    assert "failed" not in first and "failed" not in lines[1], lines
    assert first["cpu"] > 0 and first["good"] == 57 and first["junk"] == 3 and -1 <= first["ari"] <= 1
    (found,) = first["three_ds"]
    assert found["true"] == 1 and 0.9 < found["purity"] <= 1 and 0 < found["goal"] < 1 and found["word"]
    assert "three_ds" not in lines[1] and lines[1]["success"] == (lines[1]["called_right"] == 0)
    before = (tmp_path / "r.jsonl").read_bytes()
    with open(tmp_path / "r.jsonl", "a") as handle:
        handle.write('{"case": "avg-k1", "se')  # as a kill leaves it
    assert bench(tmp_path, "--cases", "avg-k1,avg-noise", "--seeds", "3").returncode == 0
    assert (tmp_path / "r.jsonl").read_bytes().startswith(before) and len((tmp_path / "r.jsonl").read_text().splitlines()) == 3
    said = bench(tmp_path, "--summary").stdout
    assert "averages, K=1, 300" in said and "of 1 |" in said and "3Ds called right:" in said


def test_unknown_case(tmp_path):
    done = bench(tmp_path, "--cases", "nothing")
    assert done.returncode == 2 and "no case nothing" in done.stderr and not (tmp_path / "r.jsonl").exists()


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import right_3ds_cases
    import right_3ds_score

    return right_3ds_cases, right_3ds_score


def test_two_states_are_five_per_cent_apart(parts):
    cases, _ = parts
    for seed in (1, 2, 3):
        whole, less = cases.structures(cases.CASES["states"], seed, 32)
        assert less.mass / whole.mass == pytest.approx(0.95, abs=1e-9)
        gone = [p for p in whole.positions if not (np.abs(less.positions - p).sum(1) < 1e-12).any()]
        assert 1 <= len(gone) < 0.3 * len(whole.weight)


@pytest.mark.parametrize("group", ["C4", "D2", "D7", "I"])
def test_symmetric_objects_have_their_symmetry_and_no_more(parts, group):
    from imagic4d_core.geometry.symmetry import rotations

    cases, _ = parts
    model = cases.structures(cases.CASES[group.lower()], 5, 32)[0]

    def overlap(m):
        apart = np.linalg.norm((model.positions @ m.T)[:, None] - model.positions[None], axis=2).min(1)
        return float((apart < 1e-6).mean())

    assert min(overlap(op) for op in rotations(group)) == 1.0
    assert np.linalg.norm(model.positions, axis=1).max() <= 10.0 + 1e-9
    turn = np.array([[np.cos(0.9), -np.sin(0.9), 0], [np.sin(0.9), np.cos(0.9), 0], [0, 0, 1.0]])
    assert overlap(turn) == 0.0


def test_words_of_old_and_new_runs(parts):
    _, scores = parts
    above = {"membership_above_chance": True, "fsc_above_chance": True}
    assert scores.verdict_word({"verdict": "mixed"}, above) == "mixed"
    assert scores.verdict_word({"verdict": {"word": "right"}}, {}) == "right"
    assert scores.verdict_word({"poor": True}, above) == "poor"
    assert scores.verdict_word({"duplicate_of": 2}, above) == "duplicate"
    assert scores.called_right(scores.verdict_word({}, above))
    assert not scores.called_right(scores.verdict_word({}, above | {"fsc_above_chance": False}))


def test_what_counts_as_success(parts):
    cases, scores = parts
    good = scores.Found(1, 100, 1, 1.0, 1.0, 1.0, 0.8, 0.6, True, False, "right")
    wrong = scores.Found(2, 50, 1, 0.5, 0.4, 20.0, 0.2, 0.6, False, False, "right")
    one = cases.CASES["one-as-3"]
    assert scores.success(one, {}, [good]) and not scores.success(one, {}, [good, wrong])
    honest = cases.CASES["avg-junk30-as-3"]
    modest = scores.Found(2, 50, 0, 0.0, 0.0, None, None, None, False, False, "junk")
    assert scores.success(honest, {}, [good, modest]) and not scores.success(honest, {}, [good, wrong])
    assert not scores.success(honest, {}, [modest])
    junk = {"ari": 0.97, "structures_right": [1, 2, 3], "junk": 100, "junk_out": 90, "lost": 0.02, "group": "C1"}
    case = cases.CASES["avg-k3-junk"]
    assert scores.success(case, junk, [good])
    for worse in ({"junk_out": 89}, {"lost": 0.021}, {"ari": 0.94}, {"structures_right": [1, 2]}):
        assert not scores.success(case, junk | worse, [good])
    found = {"ari": 1.0, "lost": 0.0, "structures_right": [1], "group": "D2"}
    assert scores.success(cases.CASES["d2-auto"], found, [good])
    assert not scores.success(cases.CASES["d2-auto"], found | {"group": "C2"}, [good])
    assert not scores.success(cases.CASES["d2-auto"], found | {"lost": 0.1}, [good])
