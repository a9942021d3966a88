"""Alignments give the same bytes for any number of ranks and threads."""

import hashlib
import os

import numpy as np
import pytest
from oracle import align as oracle

from imagic4d_core.io.header import blank_headers
from imagic4d_core.io.stack import write_stack

CALLS = {
    "mra": ["mra", "images.hed", "refs.hed", "{}", "--seed", "1", "--max-shift", "2"],
    "safe": ["mra", "images.hed", "sums.hed", "{}", "--seed", "1", "--max-shift", "2", "--safe", "--fine-frequency", "0.6"],
    "parallel": ["align-parallel", "images.hed", "each.hed", "{}", "--max-shift", "2"],
    "refs": ["align-refs", "refs.hed", "{}", "--max-shift", "2", "--iterations", "2"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    d = tmp_path_factory.mktemp("align")
    refs = np.array([oracle.draw(24, oracle.blobs(k)) for k in range(3)])
    kind = np.arange(110) % 3
    h = blank_headers(110, 24, 24)
    h["CLASSNO"] = kind + 1
    images = refs[kind] + 0.3 * np.random.default_rng(1).normal(size=(110, 24, 24)).astype(np.float32)
    write_stack(d / "images.hed", images, h)
    write_stack(d / "refs.hed", refs)
    write_stack(d / "each.hed", refs[kind])
    h = blank_headers(3, 24, 24)
    h["NUMCLS"] = np.bincount(kind)
    write_stack(d / "sums.hed", np.array([images[kind == k].mean(0) for k in range(3)]), h)
    return d


@pytest.mark.parametrize("name", sorted(CALLS))
def test_same_bytes(mpiexec, place, name):
    seen = set()
    for ranks, threads in ((1, 1), (2, 2), (3, 1)) if name in ("mra", "safe") else ((1, 2), (3, 1)):
        out = f"{name}_{ranks}.hed"
        args = [a.replace("{}", out) for a in CALLS[name]]
        env = {"SOURCE_DATE_EPOCH": "1700000000", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        done = mpiexec(ranks, "-m", "imagic4d_cli.main", *args, "--threads", str(threads), cwd=place, extra=env)
        assert done.returncode == 0, done.stderr
        seen.add(tuple(hashlib.sha1((place / out).with_suffix(s).read_bytes()).hexdigest() for s in (".hed", ".img")))
    assert len(seen) == 1
