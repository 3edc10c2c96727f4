"""The rules that turn the log into metrics, run by the real mtail on what the agent writes."""

import io
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certagent.events import Log
from tests.servers.process import ROOT, missing

RULES = ROOT / "monitoring" / "certagent.mtail"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.real
def test_mtail_counts_events_and_findings(tmp_path: Path) -> None:
    """By event and level, by code and severity; what systemd writes in between is passed over."""
    if shutil.which("mtail") is None:
        missing("mtail", "apt-get install -y mtail")
    stream = io.StringIO("Started certagent.service - Certificate agent.\n")
    stream.seek(0, io.SEEK_END)
    log = Log(stream, "json", lambda: NOW)
    log.emit("agent.started", reason="configuration /c.toml")
    about = {"certs_dir": "/c", "file": "node.key", "code": "key.mode"}
    log.emit("finding.appeared", severity="critical", reason="the mode is 0644", **about)
    log.emit("finding.changed", severity="warning", reason="the mode is 0640", **about)
    log.emit("finding.cleared", severity="warning", reason="resolved", **about)
    stream.write(stream.getvalue().splitlines()[-1][:-1] + ', "left_out": 41}\n')
    (tmp_path / "log").write_text(stream.getvalue())
    command = ["mtail", "--one_shot", "--one_shot_format=prometheus", f"--progs={RULES}", f"--logs={tmp_path}/log"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    told = re.sub(r'(,?)prog="certagent.mtail",?', r"\1", done.stdout).replace(",}", "}")
    found = dict(re.findall(r"^certagent_log_(\w+_total\{.*\}) (\S+)$", told, re.MULTILINE))
    assert {key: float(value) for key, value in found.items()} == {
        'events_total{event="agent.started",level="info"}': 1,
        'events_total{event="finding.appeared",level="error"}': 1,
        'events_total{event="finding.changed",level="warning"}': 1,
        'events_total{event="finding.cleared",level="info"}': 2,
        'findings_total{code="key.mode",severity="critical"}': 1,
        'findings_total{code="key.mode",severity="warning"}': 1,
        'left_out_total{event="finding.cleared"}': 41,
    }
    (last,) = re.findall(r"^certagent_log_last_event_timestamp_seconds\S* (\S+)$", done.stdout, re.MULTILINE)
    assert float(last) == NOW.timestamp()
