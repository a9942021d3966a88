"""Completions: what the program answers, and what real shells make of it."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def complete(words: str, cwd: str | os.PathLike | None = None) -> list[str]:
    parts = words.split(" ")
    env = os.environ | {"_IM4D_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(parts) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "imagic4d_cli.main"], capture_output=True, text=True, timeout=60, env=env, cwd=cwd
    )
    assert done.stderr == ""
    return [line.split(",", 1)[1] for line in done.stdout.splitlines()]


@pytest.fixture
def folder(tmp_path):
    """Some files, and an `im4d` to be found on the PATH."""
    for name in ("particles.hed", "particles.img", "parts.mrcs", "notes.txt", "part.star", ".hidden.hed"):
        (tmp_path / name).touch()
    (tmp_path / "partfolder").mkdir()
    script = tmp_path / "bin" / "im4d"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m imagic4d_cli.main "$@"\n')
    script.chmod(0o755)
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    path = os.pathsep.join(map(str, (ROOT, ROOT / "core")))
    return os.environ | {"PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path, "TERM": "dumb"}


def test_commands_and_options():
    assert "warmup" in complete("im4d wa")
    assert complete("im4d warmup --js") == ["--json"]
    assert complete("im4d forward --symmetry D") == ["D2", "D3", "D3Y", "D4", "D5", "D5Y", "D6", "D7", "D7Y"]
    assert complete("im4d convert --rows p") == ["plain"]
    assert "angular-reconstitution" in complete("im4d angular")
    assert "ANGULAR-RECONSTITUTION" in complete("im4d ANGU")


def test_files(folder):
    assert complete("im4d info par", folder) == ["part.star", "partfolder/", "particles", "parts.mrcs"]
    assert complete("im4d info particles.", folder) == ["particles.hed"]
    assert ".hidden" not in complete("im4d info ", folder)


@pytest.mark.parametrize(("shell", "name"), [("bash", "im4d.bash"), ("zsh", "_im4d"), ("fish", "im4d.fish")])
def test_scripts_are_valid(shell, name):
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"no {shell} on this machine")
    assert subprocess.run([path, "-n", str(ROOT / "completions" / name)], timeout=20).returncode == 0


CASES = [
    ("im4d wa", ["warmup"]), ("im4d warmup --js", ["--json"]), ("im4d forward --symmetry D", ["D2", "D7"]),
    ("im4d info par", ["particles", "parts.mrcs"]),
]  # fmt: skip


@pytest.mark.parametrize(("words", "wanted"), CASES)
def test_bash(folder, words, wanted):
    if shutil.which("bash") is None:
        pytest.skip("no bash on this machine")
    parts = words.split(" ")
    script = f"""
    source {ROOT}/completions/im4d.bash
    complete -p im4d | grep -q -- '-F' || exit 9
    COMP_WORDS=({words}); COMP_CWORD={len(parts) - 1}
    _im4d_completion im4d {parts[-1]} {parts[-2]}
    printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, cwd=folder, env=environment(folder), timeout=60
    )
    assert done.returncode == 0 and set(wanted) <= set(done.stdout.split()), done


@pytest.mark.parametrize(("words", "wanted"), CASES)
def test_fish(folder, words, wanted):
    if shutil.which("fish") is None:
        pytest.skip("no fish on this machine")
    script = f"source {ROOT}/completions/im4d.fish; complete --do-complete '{words}'"
    env = environment(folder) | {"HOME": str(folder)}
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, cwd=folder, env=env, timeout=60)
    assert set(wanted) <= {line.split("\t")[0] for line in done.stdout.splitlines()}, done


def typed(command: list[str], text: str, wanted: str, cwd: Path, env: dict[str, str], seconds: float = 30) -> str:
    """What a program on a terminal shows after `text` was typed, up to `wanted`."""
    pid, fd = pty.fork()
    if pid == 0:  # pragma: no cover
        os.chdir(cwd)
        os.execvpe(command[0], command, env)
    shown, end = "", time.monotonic() + seconds
    try:
        for part in (*text.split("\0"), None):
            mark = "READY> " if part is not None else wanted
            while mark not in shown and time.monotonic() < end:
                if select.select([fd], [], [], 0.2)[0]:
                    try:
                        shown += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(fd, 4096).decode("utf-8", "replace"))
                    except OSError:
                        break
            if part is not None:
                shown = ""
                os.write(fd, part.encode())
    finally:
        os.close(fd)
        os.waitpid(pid, 0)
    return shown


@pytest.mark.parametrize(("words", "wanted"), [*((w, wanted[0]) for w, wanted in CASES[:3]), ("im4d info parti", "particles")])
def test_zsh(folder, words, wanted):
    """Typed on a terminal, with the tabulator key, as a user does."""
    if shutil.which("zsh") is None:
        pytest.skip("no zsh on this machine")
    env = environment(folder) | {"HOME": str(folder), "ZDOTDIR": str(folder)}
    lines = [f"fpath=({ROOT}/completions $fpath)", "autoload -Uz compinit", "compinit -u -D", "setopt no_beep", "PS1='READY> '"]
    (folder / ".zshrc").write_text("\n".join([*lines, "unset zle_bracketed_paste", ""]))
    shown = typed(["zsh", "-i"], words + "\t\t", wanted, folder, env)
    assert wanted in shown, shown


def test_man_pages_have_no_warnings():
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("no groff on this machine")
    pages = sorted(str(p) for p in (ROOT / "man" / "man1").glob("*.1"))
    done = subprocess.run([groff, "-man", "-ww", "-z", "-Tutf8", *pages], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
