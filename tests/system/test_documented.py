"""Every command of the README and the documents is run as it is written, on a host with systemd, in order.

Then `certagent init` and `certagent doctor` on that host: the unit, its sandbox, and the remedy that doctor names.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.documented import Block, all_blocks
from tests.servers.process import ROOT, missing
from tests.system.booted import BOOT
from tests.system.test_owners import reachable

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.real]
STATES = re.compile(  # which end with 1 or 2 for what they found; the CA of this one host never changes: no word is due
    r"certagent (?:status|plan|check|doctor|advise|run|rotation clients)\b"
)
VALUES = {  # what stands in a block for a value of the reader's
    "4711": "$(pgrep -x cockroach | head -n 1)",
}
ELSEWHERE = {  # what is not run here, by its page and the beginning of its first line, and why
    ("README.md", "apt-get install -y git make"): "downloads, and builds a package: tests/packages does it",
    ("README.md", "apt-get install ./certagent"): "tests/packages does it, in a clean Debian",
    ("docs/operations.md", "systemctl stop certagent@NAME"): "test_systemd_units_are_booted runs it on a state of 0.1",
    ("docs/operations.md", "systemctl stop certagent-root"): "needs the state of 0.1 of the other unit, or one of root",
    ("docs/monitoring.md", "apt-get install prometheus-node-exporter"): "downloads; tests/install does it",
    ("docs/authorities/vault.md", "bao secrets enable"): "test_documented_openbao_setup runs it on a real OpenBao",
    (
        "docs/kubernetes.md",
        "make deb",
    ): "needs a registry and a cluster; tests/packages/test_kubernetes renders the patch",
    (
        "docs/authorities/step.md",
        "step ca init",
    ): "Debian has no step; test_private_cas configures step-ca by its ca.json",
    ("docs/authorities/cfssl.md", "cfssl serve"): "a server; test_private_cas runs it in this way",
}
OTHER_TESTS = {
    "docs/install.md": "tests/packages runs them",
    "docs/rotation.md": "test_rotation_words runs them",
}  # whole pages
RUN = """\
trap 'printf "%s\\t%s\\n" "$?" "$BASH_COMMAND" >> {ended}' ERR
{commands}"""
MEND = """python3 -c '
import json, sys
line = next(c for c in json.load(sys.stdin)["checks"] if c["check"] == "sandbox")
print("\\n".join(line["remedy"].partition(": ")[2].split(" ")))
'
"""


def told(base: Path, name: str) -> Any:
    """What the host said, as a document or as text."""
    text = (base / f"told.{name}").read_text()
    return json.loads(text) if text.startswith("{") else text.strip()


def runnable() -> list[Block]:
    found = [b for b in all_blocks() if b.commands and b.page not in OTHER_TESTS]
    return [b for b in found if not elsewhere(b)]


def elsewhere(block: Block) -> list[tuple[str, str]]:
    """The rows of the table that are about a block."""
    return [(page, first) for page, first in ELSEWHERE if block.page == page and block.first.startswith(first)]


def test_documented_table_names_blocks_that_exist() -> None:
    """A block that is changed or removed leaves the table."""
    assert set(ELSEWHERE) - {row for b in all_blocks() for row in elsewhere(b)} == set()


@pytest.fixture(scope="module")
def booted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The host, booted once: the blocks were run, and what was said is in files."""
    if not os.path.exists("/lib/systemd/systemd") or shutil.which("dbus-daemon") is None:
        missing("systemd that can be booted", "apt-get install -y systemd dbus")
    base = tmp_path_factory.mktemp("documented")
    reachable(base)
    checkout = base / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml", "config.example.toml"):
        shutil.copy(ROOT / name, checkout)
    for name in ("requirements", "systemd", "docs", "monitoring"):
        shutil.copytree(ROOT / name, checkout / name)
    readme = next(b.text for b in all_blocks() if b.page == "README.md" and b.language == "toml")
    (base / "config.toml").write_text(readme)
    (base / "mend").write_text(MEND)
    (base / "blocks").mkdir()
    for number, block in enumerate(runnable()):
        commands = block.commands
        for value, meant in VALUES.items():
            commands = re.sub(rf"\b{value}\b", meant.replace("\\", ""), commands)
        script = RUN.format(ended=f"/mnt/blocks/{number:03}.ended", commands=commands)
        (base / "blocks" / f"{number:03}.sh").write_text(script)
    shutil.copy(Path(__file__).with_name("documented.sh"), base / "inside")
    subprocess.run([str(BOOT), str(base)], check=False, timeout=300)
    output = (base / "output").read_text() if (base / "output").exists() else ""
    assert (base / "status").exists(), (base / "console").read_text()[-2000:]
    assert (base / "status").read_text().strip() == "0", output
    return base


@pytest.mark.parametrize("number", range(len(runnable())), ids=[f"{b.page}:{b.line}" for b in runnable()])
def test_documented_commands_work(booted: Path, number: int) -> None:
    """No command of a block fails; those that judge may end with the severity of what they found."""
    ended = booted / "blocks" / f"{number:03}.ended"
    rows = [line.split("\t", 1) for line in ended.read_text().splitlines()] if ended.exists() else []
    bad = [(code, command) for code, command in rows if not (STATES.search(command) and code in {"1", "2"})]
    assert bad == [], (booted / "blocks" / f"{number:03}.sh.out").read_text()[-3000:]


def lines(document: Any, check: str) -> list[tuple[str, str]]:
    return [(line["outcome"], line["message"]) for line in document["checks"] if line["check"] == check]


def test_init_on_a_host_with_systemd(booted: Path) -> None:
    """The server's unit and its user are named, running or not; the configuration is that of certagent.service."""
    for name in ("init", "init_stopped"):
        (made,) = told(booted, name)["configurations"]
        assert (made["unit"], made["path"]) == ("certagent.service", "/etc/certagent/config.toml")
        assert made["certs_dirs"] == ["/var/lib/cockroach/certs"]
        assert made["drop_in"] == []
        assert "cockroach.service has User=cockroach" in made["toml"]
    assert (
        "cockroach.service has User=cockroach and does not run"
        in told(booted, "init_stopped")["configurations"][0]["toml"]
    )


def test_doctor_unit_and_sandbox_that_fit(booted: Path) -> None:
    """The running unit reaches every path; nothing about it fails."""
    found = told(booted, "doctor")
    assert {outcome for outcome, _ in lines(found, "sandbox")} == {"ok"}
    assert "as the running certagent sees them" in lines(found, "sandbox")[0][1]
    assert ("ok", "certagent runs as cockroach") in lines(found, "user")
    assert ("ok", "certagent starts at boot") in lines(found, "unit")
    assert {outcome for outcome, _ in lines(found, "CA")} == {"ok"}
    assert {outcome for outcome, _ in lines(found, "socket")} == {"ok"}


def test_doctor_sandbox_that_shuts_the_directory(booted: Path) -> None:
    """The running agent cannot write there: by its own view, and once it is stopped by its unit's settings."""
    said = "certs directory /srv/crdb/certs: /srv/crdb is read-only for"
    found = told(booted, "doctor_shut")
    assert lines(found, "sandbox") == [("failed", f"{said} the running certagent")]
    assert told(booted, "doctor_shut_exit") == "2"
    stopped = told(booted, "doctor_stopped")
    assert lines(stopped, "sandbox") == [("failed", f"{said} certagent, by its settings")]
    assert ("failed", "certagent is inactive (dead)") in lines(stopped, "unit")


def test_doctor_remedy_opens_the_sandbox(booted: Path) -> None:
    """The drop-in that the line names, as it is."""
    assert told(booted, "drop_in") == "[Service]\nReadWritePaths=/srv/crdb"
    assert {outcome for outcome, _ in lines(told(booted, "doctor_mended"), "sandbox")} == {"ok"}
