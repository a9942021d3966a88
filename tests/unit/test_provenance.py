"""Records of runs."""

import json

import click
import pytest
from click.testing import CliRunner

from imagic4d_cli import options as opt
from imagic4d_cli.lazygroup import LazyGroup
from imagic4d_cli.main import cli
from imagic4d_cli.run import pass_run
from imagic4d_core import provenance


def test_time_can_be_fixed(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert provenance.timestamp() == "1970-01-02T00:00:00Z"


def test_digest_sees_size_and_both_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "END", 4)
    digests = set()
    for content in (b"", b"abcd", b"abcdX", b"abcdefgh", b"abcd1efgh", b"abcdefgX", b"Xbcdefgh"):
        (tmp_path / "f").write_bytes(content)
        digests.add(provenance.digest(tmp_path / "f"))
    assert len(digests) == 7


def test_files_of_a_pair(tmp_path):
    for name in ("a.hed", "a.img", "b.mrc"):
        (tmp_path / name).write_bytes(b"x")
    pair = [tmp_path / "a.hed", tmp_path / "a.img"]
    for spec in ("a", "a.hed", "a.img", "a,3,5"):
        assert provenance.files_of(tmp_path / spec) == pair
    assert provenance.files_of(tmp_path / "b.mrc") == [tmp_path / "b.mrc"]
    assert provenance.files_of(tmp_path / "nothing") == []


@pytest.mark.parametrize("flag", [True, False])
def test_record_beside_the_output(tmp_path, monkeypatch, flag):
    @click.command("twice")
    @opt.src
    @opt.dst
    @opt.seed
    @opt.common_serial
    @pass_run
    def twice(run, src, dst):
        with open(dst, "w") as handle:
            handle.write("out")
        run.report({"seed": run.seed})

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: twice)
    monkeypatch.setenv("IM4D_THREADS", "2")
    (tmp_path / "a.mrc").write_text("in")
    args = ["twice", str(tmp_path / "a.mrc"), str(tmp_path / "b.mrc"), "--seed", "5", *(["--record"] if flag else [])]
    assert CliRunner().invoke(cli, args).exit_code == 0
    path = tmp_path / "b.im4d.json"
    assert path.exists() == flag
    if flag:
        document = json.loads(path.read_text())
        assert (document["schema"], document["seed"], document["threads"], document["ranks"]) == (1, 5, 2, 1)
        assert document["settings"]["threads"] == {"value": 2, "from": "ENVIRONMENT"}
        assert document["settings"]["seed"] == {"value": 5, "from": "COMMANDLINE"}
        assert [(i["file"], i["bytes"]) for i in document["inputs"]] == [(str(tmp_path / "a.mrc"), 2)]
