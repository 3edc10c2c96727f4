"""The description of each type of CA: none can be left out, and each says what its backend does."""

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

from certagent.authority import backends
from certagent.authority.backends import step_token
from certagent.authority.messages import Request
from certagent.authority.worker import profile_of
from certagent.config import remote
from certagent.config.remote import CaType
from tests.parsing import nodes

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "certagent"
BACKENDS = Path(backends.__file__).parent
TYPES = remote.kinds()
PLACE = "/srv/place"
ORDINARY = {"command", "step"}  # types whose names are words of other things, too


def source(kind: str) -> str:
    """All that a backend's module or package says."""
    place = BACKENDS / kind
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    return "\n".join(f.read_text() for f in files)


def asks(name: str) -> bool:
    """Whether a module of backends/ is a backend: it has `ask(request, context)`, or imports it."""
    place = BACKENDS / name
    tree = ast.parse((place / "__init__.py" if place.is_dir() else place.with_suffix(".py")).read_text())
    made = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    return "ask" in made | {a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}


def test_ca_type_has_description_and_backend() -> None:
    """Each backend has a description under its own name, and each description a backend."""
    assert {m.name for m in iter_modules(backends.__path__) if asks(m.name)} == set(TYPES)
    assert {t for t in TYPES if not isinstance(remote.ca_type(t), CaType)} == set()


@pytest.mark.parametrize("missing", ["settings", "asked", "account"])
def test_ca_type_description_without_account_flag_is_error(missing: str) -> None:
    """Whether a CA keeps an account has no default: a type without it would create two accounts."""
    said: dict[str, Any] = {"settings": {}, "asked": "https", "account": False}
    del said[missing]
    with pytest.raises(TypeError, match=missing):
        CaType(**said)


@pytest.mark.parametrize("kind", TYPES)
def test_ca_type_with_account_sends_first_request_alone(kind: str) -> None:
    """A backend with account operations makes the account with the first request: that request runs alone."""
    assert remote.ca_type(kind).account == ('"rollover"' in source(kind))


@pytest.mark.parametrize("kind", TYPES)
def test_ca_type_signing_with_live_key_is_declared(kind: str) -> None:
    """The daemon signs with a live key only for the types that declare it."""
    named = remote.ca_type(kind).live_proof
    found = import_module(f"{backends.__name__}.{named}") if named else None
    assert found is (step_token if kind == "step" else None)
    assert ("def live_token(" in source(named or kind)) == bool(named)


def test_ca_type_libraries_are_extra_of_project() -> None:
    """The extra TYPE, as the remedy says, installs the libraries of a type."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {t for t in TYPES if remote.ca_type(t).extras} == set(extras) & set(TYPES)


def test_ca_type_in_daemon_uses_files_only() -> None:
    """A type without network access may be asked in the daemon: its backend imports no HTTPS client, starts nothing."""
    words = ("urllib3", "subprocess", "program import")
    found = {t for t in TYPES if remote.ca_type(t).asked == "files"}
    assert {"dropbox"} == found
    assert {(t, w) for t in found for w in words if w in source(t)} == set()
    programs = {t for t in TYPES if remote.ca_type(t).asked == "program"}
    assert {"command"} == programs


def tries() -> list[tuple[str, str]]:
    """Every setting of a path or of a program, of every type."""
    return [(t, key) for t in TYPES for key in remote.ca_type(t).settings if _takes_a_path(t, key)]


def _takes_a_path(kind: str, key: str) -> bool:
    setting = remote.ca_type(kind).settings[key]
    for value in (PLACE, [PLACE]):
        try:
            if not setting.secret and setting.read(value) in (PLACE, [PLACE], (PLACE,)):
                return True
        except ValueError:
            continue
    return False


@pytest.mark.parametrize(("kind", "key"), tries())
def test_ca_type_path_setting_is_declared(kind: str, key: str) -> None:
    """Then the configuration refuses a path to a managed key; without the flag a worker could read it."""
    described = remote.ca_type(kind)
    setting = described.settings[key]
    options = {k: s.default for k, s in described.settings.items() if not s.secret}
    challenge = {"challenge": "dns-01"} if key == "dns_hook" else {}
    value = [PLACE] if isinstance(setting.default, list | tuple) else PLACE
    backend = import_module(f"{backends.__name__}.{kind}")
    made = profile_of(backend, Request("issue", kind, options | challenge | {key: value}))
    assert setting.opens == (PLACE in {*made.read, *made.write})


LIGHT = """
import sys
from certagent.authority import client
from certagent.config import remote
from tests.parsing import nodes
from tests.parsing import nodes
assert [remote.ca_type(kind) for kind in remote.kinds()]
print(sorted({"urllib3", "acme", "josepy", "dns", "certagent.authority.backends.http"} & set(sys.modules)))
"""


def test_ca_type_descriptions_import_no_library() -> None:
    """The descriptions of all types bring no HTTPS client and no library of a CA into the daemon."""
    assert subprocess.check_output([sys.executable, "-c", LIGHT]) == b"[]\n"


def test_ca_type_names_appear_only_in_descriptions() -> None:
    """What is true of one type is in its description: no table elsewhere in the package names types."""
    own = ("config/remote/", "authority/backends/", "demo/")
    places = {str(p.relative_to(PACKAGE)): p for p in PACKAGE.rglob("*.py")}
    found = {
        (place, n.value)
        for place, path in places.items()
        for n in nodes(path)
        if isinstance(n, ast.Constant) and n.value in set(TYPES) - ORDINARY and not place.startswith(own)
    }
    assert found == set()
