"""A run that is resumed goes on with its own seed: none is drawn, and none is printed that did not count."""

import pytest

import imagic4d_core.jobs.align.classify2d as classify_job
import imagic4d_core.jobs.scheme.refine as refine_job


@pytest.mark.parametrize("name", ["refine", "classify2d"])
@pytest.mark.parametrize("resume", [True, False])
def test_seed_only_where_it_counts(name, resume, im4d, tmp_path, monkeypatch):
    given = {}

    def job(*args, **kwargs):
        given.update(kwargs)
        return {"result": 1}

    monkeypatch.setattr(refine_job if name == "refine" else classify_job, name, job)
    source = tmp_path / "images.hed"
    source.touch()
    number = ["--volumes", 2] if name == "refine" else ["--classes", 4]
    done = im4d(name, source, tmp_path / "run", *number, *(["--resume"] if resume else []), "--json")
    assert ("seed" in given) is not resume
    assert ("seed" in done.json) is not resume
