"""The units under a systemd that was really booted: readiness, sandbox, reload, watchdog; as cockroach and as root."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.servers.process import ROOT, missing
from tests.system.booted import BOOT, configured
from tests.system.test_owners import reachable

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.real]
INSTALL = "apt-get install -y systemd dbus"
CONFIG = configured()


METRICS = """
[metrics]
textfile = "/var/lib/prometheus/node-exporter"
listen = "127.0.0.1:9464"
"""
OF_METRICS = {
    "textfile": "644 cockroach",
    "port_sandbox": "CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2",
    "port_user": "certagent-metrics",
    "port_without": "active",
}


def of(state: str) -> str:
    """The configuration of a further agent, with its state and its socket below a directory."""
    places = f'[agent]\nstate_dir = "/var/lib/{state}"\nsocket = "/run/{state}/control.sock"'
    return CONFIG.replace("/var/lib/certagent", f"/var/lib/{state}").replace("[agent]", places)


ROOTS = (  # served: what only root can write; and left alone: what the first agent serves
    of("certagent-root")
    .replace("/var/lib/cockroach/certs", "/srv/rooted/certs")
    .replace('"cockroach"', '"root:cockroach"')
    + """
[[certs_dir]]
path = "/var/lib/cockroach/certs"
owner = "cockroach"
authority = "house"
"""
)
OF_ROOT = {
    "root_renewed": "renew node: verified: served",
    "root_sandbox": "CapEff: 00000000000800c0 NoNewPrivs: 1 Seccomp: 2",
    "root_key": "root:cockroach 640",
    "root_owners": "root",
    "root_left_alone": "dir.foreign",
    "root_names": "systemctl enable --now certagent@cockroach",
    "root_changed": "0",
}
SECOND = (  # as 0.1 had it, below the state of the first agent
    of("certagent/second").replace("/var/lib/cockroach/certs", "/srv/second/certs").replace('"cockroach"', '"second"')
)
OF_SECOND = {
    "second_started": "active notify",
    "second_sandbox": "CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2",
    "second_renewed": "renew node: done: no cockroach process uses this directory; nothing to verify",
    "second_state": "second second",
    "second_to_others": "1",
    "second_kept_ca": "yes",
    "second_refused": "no",
    "second_beside": "1",
    "second_renewed_after": "renew node: done: no cockroach process uses this directory; nothing to verify",
    "second_last": "renew node: done: no cockroach process uses this directory; nothing to verify",
    "second_owners": "second second",
}
OF_JOURNAL = {
    "journal_installed": "ca client.root node",
    "journal_errors": "0",  # a first deployment
    "journal_priority": "4",
    "journal_explains": "1",
}
INSIDE = Path(__file__).with_name("units.sh")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def shown(page: str, before: str) -> str:
    """The commands that a page of the documents shows below this line."""
    after = (ROOT / "docs" / page).read_text().split(before)[1].lstrip("\n")
    return "".join(f"{line.strip()}\n" for line in after.split("\n\n")[0].splitlines() if not line.startswith("```"))


def test_systemd_units_are_booted(tmp_path: Path) -> None:
    """Ready when notified; confined, it renews, signals and verifies as cockroach; reloads; a hang is restarted.

    It writes metrics for node_exporter, and certagent-metrics serves them, also when no agent runs: 503.
    Beside it certagent@second, whose state is that of 0.1, moved as documented: whichever starts or stops first, each
    keeps its state and its socket. Last the root unit, for a server of another user in a directory of root's.
    """
    if not os.path.exists("/lib/systemd/systemd") or shutil.which("dbus-daemon") is None:
        missing("systemd that can be booted", INSTALL)
    reachable(tmp_path)
    for unit in (ROOT / "systemd").glob("*.service"):
        shutil.copy(unit, tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG + METRICS)
    (tmp_path / "textfile").write_text(shown("monitoring.md", "Then let the agent's user write there:"))
    shutil.copy(ROOT / "systemd" / "certagent.catalog", tmp_path)
    (tmp_path / "second.toml").write_text(SECOND)
    (tmp_path / "root.toml").write_text(ROOTS)
    (tmp_path / "upgrade").write_text(shown("operations.md", "once for each NAME:").replace("NAME", "second"))
    shutil.copy(INSIDE, tmp_path / "inside")
    booted = subprocess.run([str(BOOT), str(tmp_path)], check=False, timeout=240)
    output = (tmp_path / "output").read_text() if (tmp_path / "output").exists() else ""
    assert booted.returncode == 0, (tmp_path / "console").read_text()[-2000:]
    assert (tmp_path / "status").read_text().strip() == "0", output
    told = {key: value for row in rows(tmp_path / "told") for key, value in row.items()}
    assert told["started"] == "active notify"
    assert {told[f"renewed{when}"] for when in ("", "_after")} == {"renew node: verified: served"}
    assert told["status"].startswith(("ok", "info"))
    assert (told["reloaded"], told["stopped"]) == ("active", "success")
    assert told["sandbox"] == "CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2"
    assert told["owners"] == "cockroach"
    assert min(int(told["restarts"]), int(told["watchdog"])) >= 1
    assert {k: v for k, v in told.items() if k.startswith("second_")} == OF_SECOND
    assert {k: v for k, v in told.items() if k in OF_METRICS} == OF_METRICS
    assert {k: v for k, v in told.items() if k.startswith("root_")} == OF_ROOT
    for log, times in (("server.log", 2), ("rooted.log", 1)):
        reloads = [e for e in rows(tmp_path / log) if e["event"] == "reload"]
        assert [(e["ok"], e["sender_uid"]) for e in reloads] == [(True, int(told["uid"]))] * times, log
    assert {k: v for k, v in told.items() if k.startswith("journal_")} == OF_JOURNAL
