"""Fixtures for all tests."""

import json
import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from imagic4d_cli.main import cli

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Result:
    """What one call of im4d gave."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The document that ``--json`` printed; checks the schema number."""
        document = json.loads(self.stdout)
        assert document["schema"] == 1
        return document


@pytest.fixture
def im4d(monkeypatch):
    """Call the command line in this process: ``im4d("copy", src, dst, code=0) -> Result``.

    Another exit code than `code` fails the test with the traceback of the error. A failure must say one line on stderr.
    """
    for name in list(os.environ):
        if name.startswith(("IM4D_", "PMI_", "OMPI_", "SLURM_")):
            monkeypatch.delenv(name)

    def call(*args: Any, code: int | None = 0, env: dict[str, str] | None = None) -> Result:
        done = CliRunner().invoke(cli, [str(a) for a in args], env=env)
        if code is not None and done.exit_code != code:
            cause = done.exception.__cause__ if done.exception is not None else None
            trace = "".join(traceback.format_exception(cause, limit=-4)) if cause else ""
            pytest.fail(f"im4d {' '.join(map(str, args))}: exit {done.exit_code}, not {code}\n{done.stdout}{done.stderr}{trace}")
        if done.exit_code > 1:
            assert "Traceback" not in done.stderr
            errors = [line for line in done.stderr.splitlines() if line.startswith("im4d: error: ")]
            assert len(errors) == 1, done.stderr
        return Result(done.exit_code, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real files beside the project; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real files are not here: no folder {os.path.relpath(folder, ROOT)} beside the project")
    return folder


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT
