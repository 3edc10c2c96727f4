"""The documentation says what the code says."""

import re
from pathlib import Path

import pytest

from certagent.cli import VERBS, parser
from certagent.core.catalogue import FINDINGS
from certagent.events import EVENTS

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)\)")


@pytest.mark.parametrize("code", FINDINGS)
def test_every_finding_is_documented(code: str) -> None:
    """Each code with its meaning, the source of the rule and the remedy, in the catalogue's own words."""
    assert f"| `{code}` | {' | '.join(FINDINGS[code])} |" in (ROOT / "docs" / "findings.md").read_text()


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_documented(name: str) -> None:
    """Each event with its level, meaning, remedy and fields, in the catalogue's own words."""
    e = EVENTS[name]
    row = f"| `{name}` | {e.level} | {e.meaning} | {e.remedy} | {', '.join(e.fields)} |"
    assert row in (ROOT / "docs" / "events.md").read_text()


def test_every_code_in_the_core_is_in_the_catalogue() -> None:
    """A finding that cannot be explained is not made: every code written in core/ is in the catalogue."""
    source = "".join(p.read_text() for p in (ROOT / "certagent").rglob("*.py"))
    written = set(re.findall(r'(?:Finding|Degraded)\(\s*"([a-z.-]+)"', source))
    assert written <= set(FINDINGS)
    assert len(written) > 15


@pytest.mark.parametrize("path", DOCS, ids=lambda p: p.name)
def test_links(path: Path) -> None:
    """Every relative link leads somewhere."""
    broken = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert broken == []


def test_every_command_is_in_the_readme() -> None:
    """A stranger finds every verb of the command line in the README."""
    text = (ROOT / "README.md").read_text()
    usage = parser().format_help()
    verbs = re.findall(r"^    ([a-z]+) ", usage, re.MULTILINE)
    assert len(verbs) >= len(VERBS)
    assert [v for v in verbs if v not in text] == []
