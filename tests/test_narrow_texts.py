"""`plan` and `check` for people fit the terminal, as `status` does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certagent.cli import check, plan

GOLDEN = Path(__file__).parent / "public" / "golden"
TEXTS: dict[str, Callable[[dict[str, Any], int], str]] = {"plan": plan.text, "check": check.text}
DOCUMENTS = [path for verb in TEXTS for path in sorted(GOLDEN.glob(f"*.{verb}.json"))]


def texts(path: Path, columns: int) -> list[str]:
    """The lines of one recorded document, for each directory in it."""
    verb, document = path.name.split(".")[-2], json.loads(path.read_text())["document"]
    several = document["certs_dirs"] if verb == "check" and "certs_dirs" in document else [document]
    return [line for each in several for line in TEXTS[verb](each, columns).split("\n")]


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_text_fits_columns(path: Path, columns: int) -> None:
    """Only a name or a path that is longer alone, or a row of the table of files on a narrow terminal, does not."""
    lines = texts(path, columns)
    table = [line for line in lines if line[2:3].strip() and "  " in line.strip()]
    assert [line for line in lines if len(line) > columns and len(line.split()) > 1 and line not in table] == []
    assert columns < 80 or max(map(len, table), default=0) <= columns


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_text_has_no_empty_place_for_file(path: Path) -> None:
    """A finding about no file, such as agent.down, has none: no space before its colon."""
    assert [line for line in texts(path, 120) if " :" in line] == []


def test_plan_wraps_what_is_wrong() -> None:
    """The severity, the code, the sentence and the remedy, each line of it further in."""
    words = {"code": "agent.down", "severity": "critical", "file": "", "message": "no agent answers " * 5}
    directory = {"path": "/c", "actions": [], "steps": [], "held": [], "wake_at": None, "findings": [words]}
    told = plan.text({"certs_dirs": [directory | {"findings": [words | {"remedy": "start it"}]}]}, 60).split("\n")
    assert told[1].startswith("  critical agent.down: no agent answers no agent")
    assert told[2].startswith("        agent answers")
    assert told[-1] == "      remedy: start it"


def refused(role: str) -> dict[str, Any]:
    """The verdict on a directory with one file that is refused for a long reason."""
    file = {"name": "node.crt", "role": role, "user": "", "chain_ends": "2027-01-01T00:00:00Z", "accepted": False}
    start = {"accepted": True, "reason": ""}
    head = {"certs_dir": "/c", "pid": None, "user": "cockroach", "severity": "critical", "start": start}
    return head | {"files": [file | {"reason": "odd words " * 8}], "findings": []}


def test_check_verdict_goes_on_below_itself() -> None:
    """The rest of a reason is in the column of the verdicts; where that is too narrow, a little further in."""
    wide, narrow = (check.text(refused(role), 80).split("\n") for role in ("node", "x" * 50))
    column = wide[1].index("COCKROACH")
    assert wide[2].index("REFUSED") == column
    assert all(line[:column].strip() == "" and line[column] != " " for line in wide[3:])
    assert [len(line) - len(line.lstrip()) for line in narrow[4:]] == [8] * len(narrow[4:])


def test_check_text_shows_no_control_character() -> None:
    """Neither an escape nor a line break of a certificate reaches the terminal."""
    document = refused("node")
    document["files"][0]["reason"] = "a\x1b[31m\nb"
    assert "REFUSED: a?[31m?b" in check.text(document, 80)


def test_check_text_certificate_that_is_loaded_and_useless_is_not_called_accepted() -> None:
    """Cockroach's loader takes it; the critical finding about it or its key stands in the row."""
    file = {"name": "node.crt", "role": "node", "user": "", "chain_ends": None, "accepted": True, "reason": ""}
    found = {"code": "key.unparsable", "severity": "critical", "file": "node.key", "message": "m", "remedy": "r"}
    document = refused("node") | {"files": [file], "findings": [found]}
    assert "loaded, not usable: key.unparsable" in check.text(document, 120)
    assert "accepted" in check.text(document | {"findings": [found | {"severity": "warning"}]}, 120)
