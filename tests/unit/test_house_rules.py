"""The rules of CONTRIBUTING.md, checked on the source."""

import ast
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "core" / "imagic4d_core"
CLI = ROOT / "imagic4d_cli"
SOURCES = sorted([*CORE.rglob("*.py"), *CLI.rglob("*.py")])

# who stands above whom; a module may import from its own layer and from those below
LAYERS = {"cli": 5, "jobs": 4, "algorithms": 3, "kernels": 2, "base": 1}
BASE = {"io", "geometry", "errors", "rng", "fourier", "units", "parallel", "provenance"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(node: ast.AST, package: str) -> list[tuple[str, int]]:
    """(dotted module or module.attribute, line) of every import under `node`, relative ones made absolute."""
    found = []
    for item in ast.walk(node):
        if isinstance(item, ast.Import):
            found += [(a.name, item.lineno) for a in item.names]
        elif isinstance(item, ast.ImportFrom):
            base = item.module or ""
            if item.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - item.level + 1] + ([base] if base else []))
            found += [(f"{base}.{a.name}", item.lineno) for a in item.names]
    return found


def package_of(path: Path) -> str:
    base = ROOT if path.is_relative_to(CLI) else ROOT / "core"
    return ".".join(path.relative_to(base).parent.parts)


@cache
def mentions(path: Path) -> list[tuple[str, str, int]]:
    """(verb, dotted name, line) of everything `path` imports, or names by attribute."""
    module = tree(path)
    out = [("imports", mod, line) for mod, line in imports(module, package_of(path))]
    inner = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            dotted = ast.unparse(node)
            out.append(("uses", "numpy" + dotted[2:] if dotted.startswith("np.") else dotted, node.lineno))
    return out


def uses(path: Path, *roots: str) -> list[str]:
    """Where `path` imports, or names by attribute, something below one of the dotted `roots`."""
    return [
        f"{name(path)}:{line} {verb} {dotted}"
        for verb, dotted, line in mentions(path)
        if any(dotted == r or dotted.startswith(r + ".") for r in roots)
    ]


def outside(paths: list[Path], home: Path | None, *roots: str) -> list[str]:
    return [line for path in paths if path != home for line in uses(path, *roots)]


def core_files() -> list[Path]:
    return [p for p in SOURCES if p.is_relative_to(CORE)]


def cli_files() -> list[Path]:
    return [p for p in SOURCES if p.is_relative_to(CLI)]


def test_core_knows_no_command_line():
    assert outside(core_files(), None, "click", "rich", "imagic4d_cli") == []


def test_core_does_not_print():
    calls = [
        f"{name(path)}:{node.lineno}"
        for path in core_files()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert calls == []


def test_nobody_ends_the_process():
    assert outside(SOURCES, CLI / "docgen.py", "sys.exit", "os._exit") == []


def test_one_compiler_door():
    assert outside(SOURCES, CORE / "kernels" / "_jit.py", "numba.njit", "numba.jit", "numba.vectorize", "numba.guvectorize") == []


def test_kernels_that_kernels_call_have_no_fast_math():
    """What the optimiser may reorder comes out otherwise in the process that compiles than in those that read the cache."""
    free, called = set(), set()
    for path in sorted((CORE / "kernels").glob("*.py")):
        for func in (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef)):
            doors = [d for d in func.decorator_list if "kernel" in ast.unparse(d)]
            if not doors:
                continue
            called |= {n.func.id for n in ast.walk(func) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
            if any(k.arg == "fastmath" for d in doors if isinstance(d, ast.Call) for k in d.keywords):
                free.add(func.name)
    assert free  # the rule is about something
    assert free & called == set()


def test_one_fft_door():
    assert outside(SOURCES, CORE / "fourier.py", "scipy.fft", "scipy.fftpack", "numpy.fft", "pyfftw") == []


def test_one_random_door():
    found = outside(SOURCES, CORE / "rng.py", "numpy.random", "random")
    assert [line for line in found if not line.endswith("numpy.random.Generator")] == []


def test_one_mpi_door():
    assert outside(SOURCES, CORE / "parallel.py", "mpi4py") == []
    text = [name(p) for p in SOURCES if p != CORE / "parallel.py" and "COMM_WORLD." in p.read_text(encoding="utf-8")]
    assert text == []


def test_one_atomic_writer():
    home = CORE / "io" / "atomic.py"
    assert outside(core_files(), home, "os.replace", "os.rename", "os.renames", "tempfile", "shutil.move") == []
    renames = [
        f"{name(path)}:{node.lineno}"
        for path in core_files()
        if path != home
        for node in ast.walk(tree(path))
        # Path.rename(target); str.replace takes two arguments, Path.replace one
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (node.func.attr == "rename" or (node.func.attr == "replace" and len(node.args) == 1 and not node.keywords))
    ]
    assert renames == []


def test_command_line_imports_only_click_and_the_standard_library_at_module_level():
    allowed = {"click", "imagic4d_cli", *sys.stdlib_module_names}
    bad = []
    for path in cli_files():
        if path.name == "progress.py":  # imported only when there is a terminal
            continue
        module = tree(path)
        top = [n for n in module.body if isinstance(n, ast.Import | ast.ImportFrom)]
        for node in top:
            found = imports(node, package_of(path))
            bad += [f"{name(path)}:{line} {mod}" for mod, line in found if mod.split(".")[0] not in allowed]
    assert bad == []


def test_no_absolute_heavy_import_in_the_command_line():
    assert outside(cli_files(), None, "numpy", "scipy", "numba", "mpi4py", "matplotlib") == []


def layer(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "imagic4d_cli":
        return "cli"
    if parts[0] != "imagic4d_core" or len(parts) == 1:
        return None
    if parts[1] in ("jobs", "kernels"):
        return parts[1]
    return "base" if parts[1] in {*BASE, "__version__"} else "algorithms"


def test_imports_go_one_way():
    bad = []
    for path in SOURCES:
        base = ROOT if path.is_relative_to(CLI) else ROOT / "core"
        own = layer(".".join(path.relative_to(base).with_suffix("").parts))
        for module, line in imports(tree(path), package_of(path)):
            other = layer(module)
            if own and other and LAYERS[other] > LAYERS[own]:
                bad.append(f"{name(path)}:{line} ({own}) imports {module} ({other})")
    assert bad == []


def test_commands_import_jobs_only_and_late():
    """A command hands over to a job: of core it imports jobs (and what describes a value), inside its body."""
    bad = []
    for path in (CLI / "commands").glob("*.py"):
        for module, line in imports(tree(path), package_of(path)):
            if module.startswith("imagic4d_core.") and module.split(".")[1] not in ("jobs", "errors", "units"):
                bad.append(f"{name(path)}:{line} imports {module}")
    assert bad == []


@pytest.mark.parametrize("path", sorted((CLI / "commands").glob("[a-z]*.py")), ids=lambda p: p.stem)
def test_commands_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 80


def test_options_are_declared_once():
    """No command file calls click.option or click.argument: both are declared in options.py."""
    assert outside(sorted((CLI / "commands").glob("*.py")), None, "click.option", "click.argument") == []


def test_every_module_says_what_it_is():
    assert [name(p) for p in SOURCES if ast.get_docstring(tree(p)) is None] == []


def test_every_public_function_of_core_has_a_docstring():
    bad = []
    for path in core_files():
        for node in tree(path).body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            overload = any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
            if not overload and not ast.get_docstring(node):
                bad.append(f"{name(path)}:{node.lineno} {node.name}")
    assert bad == []


def test_versions_agree():
    from imagic4d_core import __version__

    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_importing_core_imports_no_numpy():
    code = "import sys, imagic4d_core; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
