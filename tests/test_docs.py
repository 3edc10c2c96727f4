"""The documentation says what the code says."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certagent.cli import VERBS, parser
from certagent.config import build
from certagent.core.catalogue import FINDINGS
from certagent.events import EVENTS
from tests.parsing import nodes

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)\)")
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def configurations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every TOML block of the documentation that has tables; a lone setting is no configuration."""
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for number, block in enumerate(TOML.findall(path.read_text())):
            document = tomllib.loads(block)
            if all(isinstance(value, dict | list) for value in document.values()):
                yield f"{path.stem}-{number}", document


CONFIGURATIONS = list(configurations())


@pytest.mark.parametrize("code", FINDINGS)
def test_docs_have_every_finding(code: str) -> None:
    """Each code with its meaning, the source of the rule and the remedy, in the catalogue's own words."""
    rule = FINDINGS[code]
    row = f"| `{code}` | {rule.means} | {rule.source} | {rule.advice} |"
    assert row in (ROOT / "docs" / "findings.md").read_text()


@pytest.mark.parametrize("name", EVENTS)
def test_docs_have_every_event(name: str) -> None:
    """Each event with its level, meaning, remedy and fields, in the catalogue's own words."""
    e = EVENTS[name]
    row = f"| `{name}` | {e.level} | {e.meaning} | {e.remedy} | {', '.join(e.fields)} |"
    assert row in (ROOT / "docs" / "events.md").read_text()


TEST = re.compile(r"^def (test_\w+)", re.MULTILINE)
NAMED_TEST = re.compile(r"`(test_\w+)`")


def test_docs_name_tests_that_exist() -> None:
    """The threat model, and every other page, names tests that can be run."""
    tests = (ROOT / "tests").rglob("test_*.py")
    known = {name for path in tests for name in TEST.findall(path.read_text())}
    named = {name for path in DOCS for name in NAMED_TEST.findall(path.read_text())}
    assert "test_worker_may_do_nothing_but_ask" in named
    assert named - known == set()


INDEX = re.compile(r"(?:pipx?|apt|apt-get|dnf) install (?:-\S+ )*['\"]?certagent(?![-_][0-9])")


def test_docs_install_nothing_from_an_index() -> None:
    """certagent is on no package index: what is installed is a file that was built here."""
    said = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", *sorted((ROOT / "certagent").rglob("*.py"))]
    assert INDEX.search("pip install 'certagent[acme]'")
    assert INDEX.search("apt-get install -y certagent")
    assert [path.name for path in said if INDEX.search(path.read_text())] == []


def test_codes_are_written_in_the_catalogue_alone() -> None:
    """Other code names the rule, so that no code is used that no rule has."""
    words = set(FINDINGS) - set(EVENTS)
    found = {
        (path.name, node.value)
        for path in (ROOT / "certagent").rglob("*.py")
        for node in nodes(path)
        if isinstance(node, ast.Constant) and node.value in words and path.name != "catalogue.py"
    }
    assert found == set()


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_docs_links_resolve(path: Path) -> None:
    """Every relative link leads to a file."""
    broken = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert broken == []


def test_readme_has_every_command() -> None:
    """A new reader finds every verb of the command line in the README."""
    text = (ROOT / "README.md").read_text()
    verbs = re.findall(r"^    ([a-z]+)", parser().format_help(), re.MULTILINE)
    assert verbs == list(VERBS)
    assert [v for v in verbs if f"`{v}" not in text and f"certagent {v}" not in text] == []


@pytest.mark.parametrize("document", [d for _, d in CONFIGURATIONS], ids=[name for name, _ in CONFIGURATIONS])
def test_docs_configurations_are_valid(document: dict[str, Any]) -> None:
    """The program reads each documented configuration: excerpts are completed, the user is one of this host."""
    document.setdefault("authority", {}).setdefault("house", {"type": "none"})
    directories = document.setdefault("certs_dir", [{}])
    document["certs_dir"] = directories if isinstance(directories, list) else [directories]
    for directory in document["certs_dir"]:
        directory |= {"owner": "root", "path": directory.get("path", "/certs")}
    assert build("documented", document).policies


def test_docs_layouts_are_complete() -> None:
    """docs/layouts.md needs no completion: every configuration there has its authorities and its directory."""
    found = [d for name, d in CONFIGURATIONS if name.startswith("layouts-")]
    assert len(found) > 6
    assert all({"authority", "certs_dir"} <= set(d) for d in found)
