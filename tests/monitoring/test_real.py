"""A real node_exporter and a real Prometheus see what the agent sees, and their alerts fire."""

import re
import signal
import sys
from pathlib import Path

import pytest
import urllib3

from certagent.core.metrics import FAMILIES
from tests.monitoring.dashboard import expressions
from tests.monitoring.test_rules import RULES, documented, rules
from tests.servers.process import LOCALHOST, Running, free_port, listens
from tests.servers.prometheus import Prometheus, node_exporter, promtool
from tests.system.running import Host
from tests.waiting import wait_until

WITH_EVENTS = {"findings", "rotation_info", "rotation_members_left"}  # series only while something is wrong or changes


def hasty(directory: Path) -> Path:
    """The rules with the patience of a test: nothing has to last, and a turn may be five seconds old."""
    found = re.sub(r"^( +for: )\w+$", r"\g<1>0s", RULES.read_text(), flags=re.MULTILINE).replace("+ 120", "+ 2")
    path = directory / RULES.name
    path.write_text(found)
    return path


def listener(host: Host, port: int) -> Running:
    """`certagent metrics --listen` as a process of its own."""
    command = [sys.executable, "-m", "certagent", "metrics", "--listen", f"{LOCALHOST}:{port}", "-c", str(host.config)]
    return Running(command, host.base / "listener.log", lambda: listens(port))


def place(base: Path) -> tuple[Host, Path]:
    """A host whose agent writes a text file, and the directory of that."""
    directory = base / "textfile"
    directory.mkdir()
    directory.chmod(0o755)
    host = Host(base)
    host.write(extra=f'[metrics]\ntextfile = "{directory}"')
    return host, directory


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.usefixtures("usual_umask")
def test_promtool_accepts_the_metrics(tmp_path: Path) -> None:
    """The real promtool finds nothing wrong with names, units, help and types, in the file and on stdout."""
    host, directory = place(tmp_path)
    assert host.once().returncode == 0
    printed = host.run("metrics")
    file = (directory / "certagent-config.prom").read_text()
    assert printed.returncode == 0
    for text in (printed.stdout, file):
        checked = promtool("check", "metrics", given=text)
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    assert "certagent_last_turn_timestamp_seconds" in file
    assert "certagent_last_turn_timestamp_seconds" not in printed.stdout
    assert len([line for line in file.splitlines() if not line.startswith("#")]) <= 40


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.usefixtures("usual_umask")
def test_two_agents_of_a_host_share_no_series(tmp_path: Path) -> None:
    """node_exporter takes the files of both: each has a name of its own, and no series is in both."""
    first, directory = place(tmp_path)
    second = Host(tmp_path / "second")
    second.base.mkdir()
    second.config = second.base / "second.toml"
    second.write(extra=f'[metrics]\ntextfile = "{directory}"')
    assert (first.once().returncode, second.once().returncode) == (0, 0)
    exporter, port = node_exporter(directory, tmp_path / "exporter.log")
    with exporter:
        said = urllib3.request("GET", f"http://{LOCALHOST}:{port}/metrics").data.decode()
    assert "node_textfile_scrape_error 0" in said
    assert {f'certagent_status{{agent="{agent}"}} 0' for agent in ("config", "second")} <= set(said.splitlines())


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.usefixtures("usual_umask")
def test_alerts_fire_by_textfile_and_port(tmp_path: Path) -> None:
    """Both ways show the same; an alert fires for a critical finding, ends with it, and one fires for a dead agent."""
    host, directory = place(tmp_path)
    assert host.once().returncode == 0
    port = free_port()
    exporter, exported = node_exporter(directory, tmp_path / "exporter.log")
    prometheus = Prometheus(tmp_path / "prometheus", {"node": exported, "certagent": port}, [hasty(tmp_path)])
    with host.server(), host.agent() as agent, exporter, listener(host, port), prometheus:
        for job in ("node", "certagent"):
            served = f'certagent_served_not_after_timestamp_seconds{{job="{job}", file="node"}}'
            wait_until(lambda asked=served: prometheus.value(asked), f"{job} shows what is served")  # type: ignore[misc]
        wait_until(lambda: prometheus.value("sum(certagent_file_unverified)") == 0, "everything is verified")
        ends = "count by (file, certs_dir) (certagent_certificate_not_after_timestamp_seconds)"
        assert {r["value"][1] for r in prometheus.query(ends)} == {"2"}, "each file by both ways"
        names = {r["metric"]["__name__"] for r in prometheus.query('{__name__=~"certagent_.+"}')}
        assert names >= {f.name for f in FAMILIES} - {f"certagent_{w}" for w in WITH_EVENTS}
        answered = [e for e in (*expressions(), *rules(), *documented()) if prometheus.query(e)]
        assert len(answered) > len(expressions()) / 2, "Prometheus takes each expression, and has data for most"
        wait_until(lambda: prometheus.firing() == set(), lambda: f"these alerts fire: {prometheus.firing()}")

        refused = host.certs / "client-tenant.x.crt"  # no number: cockroach refuses the whole directory
        refused.write_bytes((host.certs / "node.crt").read_bytes())
        wait_until(lambda: "CertagentFindingCritical" in prometheus.firing(), "an alert fires for the finding")
        refused.unlink()
        wait_until(lambda: prometheus.firing() == set(), lambda: f"these alerts fire: {prometheus.firing()}")

        agent.stop(signal.SIGKILL)
        wait_until(lambda: "CertagentBlind" in prometheus.firing(), "an alert fires for the dead agent")
        blind = 'time() - certagent_last_turn_timestamp_seconds{job="node"} > 5'
        assert wait_until(lambda: prometheus.value(blind), "the text file grows old")
        assert wait_until(lambda: prometheus.value('up{job="certagent"} == 0') == 0, "the port has no metrics")
