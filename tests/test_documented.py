"""Every command, configuration and document that the documentation shows is one that works.

Commands are run by tests/system/test_documented.py; here they are read by the parser of the command line.
"""

import configparser
import json
import re
import shlex
from contextlib import redirect_stderr, suppress
from datetime import UTC, datetime
from io import StringIO

import pytest

from certagent.cli import VERBS, parser
from certagent.core.catalogue import FINDINGS
from certagent.events import EVENTS, Log
from tests import settings
from tests.documented import COMMANDS, OTHERS, Block, all_blocks, inline, pages
from tests.parsing import ROOT

BLOCKS = all_blocks()
PLACEHOLDERS = {  # what stands in a command for a value of the reader's
    "NAME": "node",
    "DIR": "/certs",
    "FILE": "/tmp/file",
    "CODE": "key.mode",
    "SHELL": "bash",
    "PID": "1",
    "NEW": "/tmp/file",
    "NEW.toml": "/tmp/file",
    "USER": "root",
    "COMMAND": "status",
}
COMMAND = re.compile(r"(?:^|&& |; |sudo -u \w+ )(?:\S*/)?(certagent [a-z][^;|&#>]*)", re.MULTILINE)
MENTION = re.compile(r"(?:sudo -u \w+ )?(certagent [a-z][^;>]*)")


def commands() -> list[str]:
    """Each certagent command that a page shows, in a block or in its text; of alternatives the first."""
    found = [c for block in BLOCKS for line in block.commands.splitlines() for c in COMMAND.findall(line)]
    named = [MENTION.fullmatch(words) for page in pages() for words in inline(page)]
    found += [re.sub(r"\\?\|.*", "", n[1]).replace("[", "").replace("]", "") for n in named if n]
    return sorted({c.strip() for c in found})


def test_documented_blocks_have_a_language() -> None:
    """What is a command and what is not is said by the block itself."""
    assert [] == [(b.page, b.line) for b in BLOCKS if b.language not in (*COMMANDS, *OTHERS)]


@pytest.mark.parametrize("command", commands())
def test_documented_command_is_one_of_the_programs(command: str) -> None:
    """Verb, options and their values are known to the command line; a verb alone may be mentioned."""
    words = [PLACEHOLDERS.get(w, w) for w in shlex.split(command)[1:]]
    assert words[0] in VERBS
    errors = StringIO()
    with redirect_stderr(errors), suppress(SystemExit):
        parser(words[0]).parse_args(words)
    problem = errors.getvalue().strip().rpartition("\n")[2]
    assert problem == "" or (words[1:] in ([], ["test"], ["account"]) and "required" in problem)


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "json"], ids=lambda b: f"{b.page}:{b.line}")
def test_documented_json_is_json(block: Block) -> None:
    """One document, or one a line."""
    try:
        json.loads(block.text)
    except ValueError:
        assert [json.loads(line) for line in block.text.splitlines()]


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "ini"], ids=lambda b: f"{b.page}:{b.line}")
def test_documented_unit_is_a_unit(block: Block) -> None:
    """A drop-in has a section of systemd's, and settings."""
    read = configparser.ConfigParser(strict=False, interpolation=None)
    read.read_string(block.text)
    assert set(read.sections()) <= {"Unit", "Service", "Socket", "Install", "Timer"}
    assert all(read.items(section) for section in read.sections())


def test_documented_log_lines_have_the_logs_fields() -> None:
    """Each line of the log that a page shows has the fields that the agent writes, and a known event."""
    shown = [
        json.loads(line) for b in BLOCKS if b.language == "json" for line in b.text.splitlines() if '"event": ' in line
    ]
    assert shown
    for row in shown:
        assert row["event"] in EVENTS
        stream = StringIO()
        about = {key: row.get(key, "") for key in ("certs_dir", "file", "reason", "remedy")}
        Log(stream, "json", lambda: datetime(2026, 11, 24, tzinfo=UTC)).emit(row["event"], **about)
        assert list(json.loads(stream.getvalue())) == list(row)


RUNBOOK = ROOT / "docs" / "runbook.md"
CRITICAL = [code for code, rule in FINDINGS.items() if "critical" in rule.severities]


def test_runbook_has_each_critical_finding() -> None:
    """One section for each code that can be critical, and none for a code that cannot."""
    assert sorted(re.findall(r"^### `(.*)`$", RUNBOOK.read_text(), re.MULTILINE)) == sorted(CRITICAL)


def test_runbook_section_says_what_to_do() -> None:
    """No section is empty or a heading alone."""
    _, *sections = re.split(r"^### .*$", RUNBOOK.read_text(), flags=re.MULTILINE)
    assert all(len(re.split(r"^## ", section, flags=re.MULTILINE)[0].split()) > 12 for section in sections)


def test_documented_settings_are_the_schemas() -> None:
    """The tables of docs/configuration.md are what `python -m tests.settings` writes."""
    assert settings.PAGE.read_text() == settings.page(), "run python -m tests.settings"


def test_documented_settings_each_say_what_they_are_for() -> None:
    """No row without a word: config.example.toml has a comment beside each setting."""
    assert [row for row in settings.tables().splitlines() if row.endswith("|  |")] == []
