"""The shape of the tree, held by a test: import rules, sizes, docstrings, and tests that never sleep."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.parsing import ROOT, SOURCES, TESTS, nodes, parsed

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
ROOMS = {  # the one import table: each room, and the rooms that it may import; ARCHITECTURE.md shows the same
    "core": "",
    "posix": "",
    "x509": "core",
    "config": "core posix",
    "events": "core",
    "process": "core posix",
    "state": "core posix",
    "sandbox": "posix",
    "keys": "core posix x509 sandbox",
    "probe": "core sandbox",
    "control": "posix",
    "certs_dir": "core posix x509 keys",
    "revocation": "core posix x509 sandbox certs_dir",
    "authority": "core posix config x509 sandbox keys state certs_dir",
    "authority/backends": "core posix x509 sandbox keys authority",
    "operations": "core posix x509 config process state sandbox keys certs_dir revocation authority",
    "agent": "core posix x509 config events process state sandbox keys probe control certs_dir revocation authority "
    "operations",
    "demo": "x509",
    "cli": "core posix config events state sandbox control certs_dir operations agent demo",
    "__main__": "cli",
}
APART = {"authority/backends": "authority/client"}  # a worker asks a CA; it has nothing of the daemon's side
ONLY = {  # a library, and the one room or file that imports it
    "cryptography": "x509",
    "psutil": "process",
    "watchdog": "agent/watch",
    "apscheduler": "agent/wake",
}
DOCSTRINGS = (ast.FunctionDef, ast.AsyncFunctionDef)


def place(path: Path) -> str:
    """A module of ours by its path: `core/decide/renewal`."""
    return str(path.relative_to(ROOT / "certagent").with_suffix(""))


def under(place: str, above: str) -> bool:
    """Whether a place is that room or file, or inside it: by parts of the path, never by the start of a word."""
    parts = above.split("/")
    return place.split("/")[: len(parts)] == parts


def room(place: str) -> str:
    """The innermost room of the table that holds a place; "" where none does."""
    return max((r for r in ROOMS if under(place, r)), key=len, default="")


@cache
def imports(path: Path) -> frozenset[str]:
    """Every module that a file imports, wherever it does so; names of `from` imports are appended."""
    found = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def ours(path: Path) -> Iterator[str]:
    """The modules of ours that a file imports, as places; the version, which belongs to no room, is left out."""
    names = imports(path) - {"certagent.__version__"}
    return (n.removeprefix("certagent.").replace(".", "/") for n in names if n.startswith("certagent."))


def test_every_module_belongs_to_a_room() -> None:
    """No file stands outside the import table but the package's own."""
    assert {"__init__"} == {place(p) for p in SOURCES if not room(place(p))}


def test_rooms_import_only_what_the_table_allows() -> None:
    """Each room imports itself and the rooms of its row; nothing imports the command line or the demo."""
    allowed = {r: {r, *row.split()} for r, row in ROOMS.items()}
    found = {
        (place(p), module)
        for p in SOURCES
        for module in ours(p)
        if not any(under(module, r) for r in allowed.get(room(place(p)), ()))
    }
    assert found == set()


def module_of(name: str, known: frozenset[str]) -> str:
    """The module of ours that an imported name belongs to, as a place: the longest part of it that is a file."""
    parts = name.split("/")
    return next((m for n in range(len(parts), 0, -1) if (m := "/".join(parts[:n])) in known), "")


def test_table_allows_no_import_that_nobody_makes() -> None:
    """The table is the drawing of the code: each arrow of it is used by some module."""
    used = {(room(place(p)), module) for p in SOURCES for module in ours(p)}
    drawn = [(above, below) for above, row in ROOMS.items() for below in row.split()]
    assert [] == [(a, b) for a, b in drawn if not any(at == a and under(module, b) for at, module in used)]


def test_modules_do_not_import_in_a_circle() -> None:
    """No module imports itself by way of others, inside functions and for type checking included."""
    places = {place(p).removesuffix("/__init__"): p for p in SOURCES}
    known = frozenset(places)
    reached = {here: {module_of(m, known) for m in ours(p)} - {here, ""} for here, p in places.items()}
    for middle, beyond in reached.items():  # Warshall: what is reached by way of it is reached
        for found in reached.values():
            found.update(beyond if middle in found else ())
    assert {here for here, found in reached.items() if here in found} == set()


def test_backends_do_not_import_the_daemons_side() -> None:
    """What asks a CA in a worker imports nothing that holds the daemon's secrets and state."""
    found = {
        (place(p), m) for p in SOURCES for m in ours(p) for a, b in APART.items() if under(place(p), a) and under(m, b)
    }
    assert found == set()


def test_core_imports_no_effect() -> None:
    """core/ takes its clock, its files and its random numbers as arguments."""
    found = {
        (place(p), m) for p in SOURCES if under(place(p), "core") for m in imports(p) if m.split(".")[0] in EFFECTS
    }
    assert found == set()


def test_rooms_each_say_what_they_are() -> None:
    """The __init__ of each room starts with one sentence."""
    rooms = [ROOT / "certagent" / r / "__init__.py" for r in ROOMS if (ROOT / "certagent" / r).is_dir()]
    assert [] == [str(p) for p in rooms if not (ast.get_docstring(parsed(p)) or "").split("\n")[0].endswith(".")]


@pytest.mark.parametrize("library", ONLY)
def test_library_has_one_importer(library: str) -> None:
    """cryptography, psutil, watchdog and APScheduler each have one place."""
    found = {place(p) for p in SOURCES for m in imports(p) if m.split(".")[0] == library}
    assert {p for p in found if not under(p, ONLY[library])} == set()


SENTENCES = {"reason", "message", "problem", "sentence", "remedy", "why", "explanation", "note"}
READING = {"startswith", "endswith", "find", "index", "count", "partition", "rpartition", "split", "match", "search"}
FOREIGN = {  # who tells something by its words alone, and is no part of ours
    ("authority/backends/cfssl", "'token' in reason"),  # a bad token is HTTP 400 like everything else
    ("config/lines", "problem.startswith('Cannot')"),  # tomllib's errors have no kinds
}


def sentence(node: ast.AST) -> bool:
    """Whether an expression is a sentence for people, by its name: `reason`, `f.message`, `row["reason"]`."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.Subscript(slice=ast.Constant(value=name)):
            return name in SENTENCES
    return False


def words(node: ast.AST) -> bool:
    """Whether an expression is text that stands in the program."""
    match node:
        case ast.Constant(value=str(text)):
            return text != ""
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
    return isinstance(node, ast.JoinedStr)


def reads(node: ast.AST) -> bool:
    """Whether an expression looks into a sentence, or holds it against words of the program."""
    match node:
        case ast.Call(func=ast.Attribute(value=told, attr=verb), args=others):
            return verb in READING and any(map(sentence, (told, *others)))
        case ast.Compare(ops=[ast.In() | ast.NotIn()], left=left, comparators=[right]):
            return sentence(right) or (sentence(left) and not isinstance(right, ast.Tuple))
        case ast.Compare(ops=[ast.Eq() | ast.NotEq()], left=left, comparators=[right]):
            return any(map(sentence, (left, right))) and any(map(words, (left, right)))
        case ast.Match(subject=subject, cases=cases):
            return sentence(subject) and any(isinstance(c.pattern, ast.MatchValue) for c in cases)
    return False


def test_decisions_read_no_sentence() -> None:
    """Sentences are for people: decisions are made by a kind next to them, so that they can be reworded."""
    found = {(place(p), ast.unparse(n)) for p in SOURCES for n in nodes(p) if reads(n)}
    assert found == FOREIGN


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (n for n in nodes(path) if isinstance(n, DOCSTRINGS))


def length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines without the docstring."""
    total = (node.end_lineno or 0) - node.lineno + 1
    first = node.body[0]
    described = ast.get_docstring(node, clean=False) is not None
    return total - ((first.end_lineno or 0) - first.lineno + 1 if described else 0)


def test_functions_and_modules_are_short() -> None:
    """No function over forty lines, no module over three hundred."""
    long = {(place(p), f.name, length(f)) for p in SOURCES for f in functions(p) if length(f) > 40}
    large = {(place(p), n) for p in SOURCES if (n := len(p.read_text().splitlines())) > 300}
    # One match, one arm per action, as the union lists them: to split it would hide what it is.
    assert {entry for entry in long if entry[1] != "_act"} == set()
    assert large == set()


def test_loop_is_short() -> None:
    """The loop has no policy: each of its functions fits on half a screen."""
    files = [ROOT / "certagent" / "agent" / name for name in ("loop.py", "converge.py")]
    assert max(length(f) for path in files for f in functions(path)) <= 30


def test_tests_each_have_a_docstring() -> None:
    """Each test has a docstring: the first thing after its signature, which ends with a colon and a new line."""
    parts = [(p.name, part) for p in TESTS for part in ("\n" + p.read_text()).split("\ndef test_")[1:]]
    assert [] == [(p, part[:40]) for p, part in parts if not part.split(":\n", 1)[1].startswith('    """')]


def test_tests_do_not_sleep_or_patch() -> None:
    """Tests wait on conditions with a deadline, and use fakes: no sleep, no mock, no monkeypatch."""
    words = ("time." + "sleep", "unittest." + "mock", "monkey" + "patch", "flex" + "mock")
    assert {
        (p.name, w) for p in TESTS for w in words if w in p.read_text() and p.name != "test_architecture.py"
    } == set()


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """What runs when a module is imported: everything but the bodies of functions."""
    for child in ast.iter_child_nodes(node):
        yield child
        inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for part in child.decorator_list if isinstance(child, ast.FunctionDef) else ():
            yield from at_import(part)
        yield from at_import(child.args if inside else child)


def test_tests_do_not_read_clock_at_import() -> None:
    """A slow machine runs a test long after it was collected: a time from the import is over by then."""
    clocks = {"now", "datetime.now", "time.time", "moments.now"}
    called = re.compile(rf"\b({'|'.join(clock.split('.')[-1] for clock in clocks)})\b")
    reading = [p for p in TESTS if called.search(p.read_text())]  # only these need to be parsed
    calls = [(p.name, n) for p in reading for n in at_import(parsed(p)) if isinstance(n, ast.Call)]
    assert [] == [(p, n.lineno) for p, n in calls if ast.unparse(n.func) in clocks]


def test_secret_is_never_formatted() -> None:
    """No key, PEM or password is ever put into a message: no f-string names one."""
    found = set()
    for path in SOURCES:
        for node in nodes(path):
            if isinstance(node, ast.JoinedStr):
                names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                found |= {(place(path), n) for n in names & {"key_pem", "pem", "password", "secret", "token"}}
    assert found == set()


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading of ARCHITECTURE.md, without its head."""
    part = (ROOT / "ARCHITECTURE.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line.strip("|").split("|") for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\\_", "_") for cell in line] for line in lines[2:]]


def test_architecture_page_shows_the_import_table() -> None:
    """The rooms of ARCHITECTURE.md, and what each may import, are those that the code is held to."""
    assert {room: allowed for room, allowed, _ in rows("Rooms")} == ROOMS


def test_architecture_page_names_files_that_exist() -> None:
    """Each path that ARCHITECTURE.md names is there; those of decisions stand below core/decide."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py|[a-z_0-9]+/)`", text)) - {f"{r}/" for r in ("docs",)}
    places = ("", "certagent", "certagent/core/decide")
    assert {n for n in named if not any((ROOT / place / n).exists() for place in places)} == set()


def test_glossary_is_sorted_and_explains_twenty_terms() -> None:
    """Twenty terms or more, in the order of the alphabet."""
    terms = [term for term, _ in rows("Glossary")]
    assert terms == sorted(terms)
    assert len(terms) >= 20
