"""The wheel holds our two packages and nothing else at its top level."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_wheel(tmp_path):
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(source)], check=True, timeout=120)
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source)],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("imagic4d-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    top = {n.split("/")[0] for n in names}
    assert {t for t in top if not t.endswith((".dist-info", ".data"))} == {"imagic4d_cli", "imagic4d_core"}
    assert "imagic4d_core/py.typed" in names
    assert "imagic4d_core/io/header.py" in names
    assert any(n.endswith("share/man/man1/im4d.1") for n in names)
    assert {f"imagic4d_cli/commands/{p.name}" for p in (source / "imagic4d_cli" / "commands").glob("*.py")} <= set(names)
