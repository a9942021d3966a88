"""Completions as a shell asks for them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def complete(words: str, cwd: str | None = None) -> list[str]:
    parts = words.split(" ")
    env = os.environ | {"_IM4D_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "imagic4d_cli.main"], capture_output=True, text=True, timeout=60, env=env, cwd=cwd
    )
    assert done.stderr == ""
    return [line.split(",", 1)[1] for line in done.stdout.splitlines()]


def test_commands_and_options():
    assert "warmup" in complete("im4d wa")
    assert complete("im4d warmup --js") == ["--json"]


@pytest.mark.parametrize(("shell", "name"), [("bash", "im4d.bash"), ("zsh", "_im4d"), ("fish", "im4d.fish")])
def test_scripts_are_valid(shell, name):
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} on this machine")
    assert subprocess.run([path, "-n", str(ROOT / "completions" / name)], timeout=20).returncode == 0


def test_man_pages_have_no_warnings():
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff on this machine")
    pages = sorted(str(p) for p in (ROOT / "man" / "man1").glob("*.1"))
    done = subprocess.run([groff, "-man", "-ww", "-z", "-Tutf8", *pages], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
