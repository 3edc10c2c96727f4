"""The shape of the tree, held by a test: import rules, sizes, docstrings, and tests that never sleep."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "certagent").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
EFFECTS = {
    "os",
    "time",
    "socket",
    "logging",
    "random",
    "pathlib",
    "subprocess",
    "threading",
    "ssl",
    "sqlite3",
    "shutil",
}
ONLY = {
    "cryptography": "host/x509",
    "psutil": "host/procs/",
    "watchdog": "host/wake.py",
    "apscheduler": "host/wake.py",
}
LAYERS = {  # what each may import of ours; what is not listed is the shell around them
    "core": {"core"},
    "authority": {"authority", "core", "host/x509", "host/confine"},
    "config": {"config", "core"},
}
LEAVES = {
    "aside",
    "errors",
    "x509",
    "owner",
    "locks",
    "openat",
    "directory",
    "pgwire",
    "hup_child",
    "roots",
    "confine",
}  # of host: any sibling may use them
DOCSTRINGS = (ast.FunctionDef, ast.AsyncFunctionDef)


def place(path: Path) -> str:
    return str(path.relative_to(ROOT / "certagent"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever it does so; names of `from` imports are appended."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, as paths below certagent/."""
    for name in imports(path):
        if name.startswith("certagent."):
            yield name.removeprefix("certagent.").replace(".", "/")


def test_the_core_imports_no_effect() -> None:
    """core/ takes its clock, its files and its luck as arguments."""
    found = {
        (place(p), m) for p in SOURCES if place(p).startswith("core") for m in imports(p) if m.split(".")[0] in EFFECTS
    }
    assert found == set()


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_go_downwards(layer: str) -> None:
    """core imports core, an authority of the host X.509 and what a process gives up, the configuration only core."""
    files = [p for p in SOURCES if place(p).startswith(f"{layer}/")]
    found = {(place(p), m) for p in files for m in ours(p) if not m.startswith(tuple(f"{a}" for a in LAYERS[layer]))}
    assert found == set()


def test_the_host_imports_no_shell() -> None:
    """host/ knows core and its own leaves; its siblings do not import each other."""
    found = set()
    for path in (p for p in SOURCES if place(p).startswith("host/")):
        mine = place(path).split("/")[1].removesuffix(".py")
        for module in ours(path):
            top, *rest = module.split("/")
            if top == "core" or (top == "host" and rest[0] in {mine, *LEAVES}):
                continue
            found.add((place(path), module))
    assert found == set()


def test_nothing_imports_the_command_line() -> None:
    """cli and demo stand on top."""
    below = [p for p in SOURCES if not place(p).startswith(("cli", "demo", "__main__"))]
    found = {(place(p), m) for p in below for m in ours(p) if m.startswith(("cli/", "demo/"))}
    assert found == set()


@pytest.mark.parametrize("library", ONLY)
def test_one_importer_per_library(library: str) -> None:
    """cryptography, psutil, watchdog and APScheduler each have one place."""
    found = {place(p) for p in SOURCES for m in imports(p) if m.split(".")[0] == library}
    assert {p for p in found if not p.startswith(ONLY[library])} == set()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, DOCSTRINGS))


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without the docstring."""
    total = (node.end_lineno or 0) - node.lineno + 1
    first = node.body[0]
    described = ast.get_docstring(node, clean=False) is not None
    return total - ((first.end_lineno or 0) - first.lineno + 1 if described else 0)


def test_sizes() -> None:
    """No function over forty lines, no module over three hundred."""
    long = {(place(p), f.name, length(f)) for p in SOURCES for f in functions(p) if length(f) > 40}
    large = {(place(p), n) for p in SOURCES if (n := len(p.read_text().splitlines())) > 300}
    # One match, one arm per action, as the union lists them: to split it would hide what it is.
    assert {entry for entry in long if entry[1] not in {"_act", "predict"}} == set()
    assert large == set()


def test_the_loop_is_short() -> None:
    """daemon.py holds no policy: each of its functions fits on half a screen."""
    assert max(length(f) for f in functions(ROOT / "certagent" / "daemon.py")) <= 30


def test_every_test_states_its_fact() -> None:
    """Each test has a docstring."""
    silent = {
        (p.name, f.name) for p in TESTS for f in functions(p) if f.name.startswith("test_") and not ast.get_docstring(f)
    }
    assert silent == set()


def test_no_test_sleeps_or_patches() -> None:
    """Tests wait on conditions with a deadline, and use fakes: no sleep, no mock, no monkeypatch."""
    words = ("time." + "sleep", "unittest." + "mock", "monkey" + "patch", "flex" + "mock")
    assert {
        (p.name, w) for p in TESTS for w in words if w in p.read_text() and p.name != "test_architecture.py"
    } == set()


def test_no_secret_is_formatted() -> None:
    """No key, PEM or password is ever put into a message: no f-string names one."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                found |= {(place(path), n) for n in names & {"key_pem", "pem", "password", "secret", "token"}}
    assert found == set()
