"""What is released: a wheel with our two packages and nothing else, a source package to be tested, one version everywhere."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from first_hour import EPOCH, same, steps, until_refine

from imagic4d_cli.registry import TABLE

ROOT = Path(__file__).resolve().parents[2]
SHARED = {
    "man/man1": {f"im4d-{name.replace(' ', '-')}.1" for name in TABLE} | {"im4d.1"},
    "bash-completion/completions": {"im4d.bash"},
    "zsh/site-functions": {"_im4d"},
    "fish/vendor_completions.d": {"im4d.fish"},
    "doc/imagic4d": {"README.md", "CHANGES.md", "CITATION.cff"},
}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Folder with wheel and source package, made of what is committed."""
    folder = tmp_path_factory.mktemp("release")
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder / "source")], check=True, timeout=120)
    pytest.importorskip("build")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(folder / "source")],
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    return folder


@pytest.mark.slow
def test_wheel(built):
    source = built / "source"
    (wheel,) = built.glob("imagic4d-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
    top = {n.split("/")[0] for n in names}
    assert {t for t in top if not t.endswith((".dist-info", ".data"))} == {"imagic4d_cli", "imagic4d_core"}
    assert "imagic4d_core/py.typed" in names
    assert "imagic4d_core/io/header.py" in names
    assert {f"imagic4d_cli/commands/{p.name}" for p in (source / "imagic4d_cli" / "commands").glob("*.py")} <= set(names)
    for folder, files in SHARED.items():
        inside = {n.rsplit("/", 1)[1] for n in names if f".data/data/share/{folder}/" in n}
        assert files <= inside, f"share/{folder} lacks {sorted(files - inside)}"
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert "License-Expression: BSD-3-Clause" in metadata and "Requires-Python: >=3.11" in metadata


@pytest.mark.slow
def test_source_package_holds_what_tests_and_pages_need(built):
    (archive,) = built.glob("imagic4d-*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {n.partition("/")[2] for n in tar.getnames()}
    wanted = {"LICENSE", "CITATION.cff", "CHANGES.md", "Makefile", "mkdocs.yml", "docs/first-hour.md", "tests/conftest.py"}
    assert wanted | {"man/man1/im4d.1", "examples/demo.sh", ".ci/setup", "core/imagic4d_core/py.typed"} <= names
    assert not [n for n in names if n.endswith(".pyc")]


@pytest.mark.slow
def test_installed_command_gives_what_the_first_hour_says(built, tmp_path):
    """A fresh environment with the wheel; the other packages are those of this one. Called from another folder."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "IM4D_"))} | {"SOURCE_DATE_EPOCH": EPOCH}
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "env")], check=True, timeout=300)
    python = tmp_path / "env" / "bin" / "python"
    (wheel,) = built.glob("imagic4d-*.whl")
    pip = [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    subprocess.run(pip, check=True, env=env, timeout=300)
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True, check=True
    )
    Path(site.stdout.strip(), "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    where = subprocess.run(
        [python, "-c", "import imagic4d_core as c; print(c.__file__)"], env=env, cwd="/", capture_output=True, text=True
    )
    assert where.stdout.startswith(str(tmp_path)), where.stdout + where.stderr
    assert (tmp_path / "env" / "share" / "man" / "man1" / "im4d.1").is_file()
    work = tmp_path / "somewhere else"
    work.mkdir()
    for words, wanted in steps()[: until_refine()]:
        command = [tmp_path / "env" / "bin" / "im4d", *words]
        done = subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert same(done.stdout.splitlines(), wanted, loose=False), (words, done.stdout)


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = project["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(rf"^## {re.escape(version)}$", (ROOT / "CHANGES.md").read_text(), flags=re.M)
    assert project["requires-python"] == ">=3.11"
    named = {c.rsplit(" ", 1)[1] for c in project["classifiers"] if re.search(r"Python :: 3\.\d+$", c)}
    assert named == {"3.11", "3.12", "3.13"}


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_source_is_python_of_every_version(version, tmp_path):
    """Where that interpreter is here: all modules compile, without a warning."""
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    works = [p for p in places if p and not subprocess.run([str(p), "-c", ""], capture_output=True).returncode]
    if not works:
        pytest.skip(f"no Python {version} here")
    env = os.environ | {"PYTHONPYCACHEPREFIX": str(tmp_path)}
    folders = [str(ROOT / "imagic4d_cli"), str(ROOT / "core")]
    done = subprocess.run(
        [str(works[0]), "-W", "error", "-m", "compileall", "-q", *folders], env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
