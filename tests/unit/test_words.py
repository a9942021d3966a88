"""Python users of the jobs are told of words that no option has; the command line knows them beforehand."""

import importlib

import pytest

from imagic4d_core.errors import UsageError, check_word

CASES = [
    ("msa.run", "msa_run", ("i.hed", "root"), "metric"),
    ("msa.run", "msa_run", ("i.hed", "root"), "invariant"),
    ("msa.run", "msa_run", ("i.hed", "root"), "solver"),
    ("scheme.recon.reconstruct", "recon", ("i.hed", "v.hed"), "method"),
    ("scheme.recon.reconstruct", "recon", ("i.hed", "v.hed"), "euler"),
    ("images.automasking", "auto_mask", ("i.hed", "m.hed"), "mode"),
    ("images.automasking", "auto_mask", ("i.hed", "m.hed"), "contrast"),
    ("images.norm_variance", "norm_variance", ("i.hed", "o.hed"), "region"),
    ("align.mra", "mra", ("i.hed", "r.hed", "o.hed"), "use"),
]


@pytest.mark.parametrize(("module", "job", "files", "option"), CASES)
def test_unknown_words(module, job, files, option):
    function = getattr(importlib.import_module(f"imagic4d_core.jobs.{module}"), job)
    with pytest.raises(UsageError, match=r"unknown .* 'nonsense': "):
        function(*files, **{option: "nonsense"})


@pytest.mark.parametrize("option", ["mode", "score", "shift_search"])
def test_unknown_words_of_angrec(option):
    from imagic4d_core.jobs.scheme.angrec.reconstitute import reconstitute

    with pytest.raises(UsageError, match=r"unknown .* 'nonsense': "):
        reconstitute("i.hed", anchors="v.hed", **{option: "nonsense"})


def test_the_words_are_named():
    check_word("mode", "a", ("a", "b"))
    with pytest.raises(UsageError, match=r"^unknown mode 'c': a, b$"):
        check_word("mode", "c", ("a", "b"))
