"""The systemd units: their promises, and what systemd itself says of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from certagent.authority.backends.acme.web import SOCKET

ALL = sorted((Path(__file__).parent.parent / "systemd").glob("*.service"))
METRICS = next(p for p in ALL if p.name == "certagent-metrics.service")
UNITS = [p for p in ALL if p != METRICS]  # of agents


def settings(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_units_are_three() -> None:
    """One per owner by default, a template for further owners, one as root."""
    assert ["certagent-root.service", "certagent.service", "certagent@.service"] == [p.name for p in UNITS]


def test_units_metrics_has_no_right_but_to_ask() -> None:
    """The loopback port is served by a user of its own without capability, state or a writable path, on loopback."""
    found = settings(METRICS)
    assert (found["DynamicUser"], found["CapabilityBoundingSet"]) == (["yes"], [""])
    assert not {"User", "StateDirectory", "ReadWritePaths"} & found.keys()
    assert (found["IPAddressDeny"], found["IPAddressAllow"]) == (["any"], ["localhost"])
    assert found["RestartPreventExitStatus"] == ["64"]


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_units_watchdog_restart_and_reload(path: Path) -> None:
    """Type=notify with a watchdog tied to the loop, a restart, a reload, and nothing that hides the host."""
    found = settings(path)
    assert found["Type"] == ["notify"]
    assert int(found["WatchdogSec"][0]) >= 60, "two turns of the loop at the default rescan"
    assert found["Restart"] == ["always"]
    assert found["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert "PrivateUsers" not in found
    assert "ProcSubset" not in found
    assert any("landlock_create_ruleset" in value and "seccomp" in value for value in found["SystemCallFilter"])
    assert found["ReadWritePaths"][-1] == "-/var/lib/cockroach"
    assert found["NoNewPrivileges"] == ["yes"]


OWN = {
    "certagent.service": "certagent",
    "certagent@.service": "certagent-%i",
    "certagent-root.service": "certagent-root",
}


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_units_share_no_directory(path: Path) -> None:
    """Each agent's state and socket lie in a directory of its own, none below another's: only root can make it."""
    found = settings(path)
    assert found["StateDirectory"] == found["RuntimeDirectory"] == [OWN[path.name]]
    assert found["StateDirectoryMode"] == ["0700"]
    assert not any("/" in name for name in OWN.values())


@pytest.mark.parametrize("path", UNITS, ids=lambda p: p.name)
def test_units_are_bounded(path: Path) -> None:
    """Tasks and memory are bounded; a mistake in the configuration is not tried again every five seconds."""
    found = settings(path)
    assert {"TasksMax", "MemoryMax"} <= found.keys()
    assert (found["RestartPreventExitStatus"], found["PrivateMounts"]) == (["64"], ["yes"])


def test_units_default_has_no_capability() -> None:
    """The default needs no privilege at all; the root unit is no user's master: a child becomes that user instead."""
    by_name = {p.name: settings(p) for p in UNITS}
    assert by_name["certagent.service"]["CapabilityBoundingSet"] == [""]
    assert by_name["certagent.service"]["User"] == ["cockroach"]
    assert by_name["certagent@.service"]["User"] == ["%i"]
    [found] = by_name["certagent-root.service"]["CapabilityBoundingSet"]
    assert found.split() == ["CAP_SETUID", "CAP_SETGID", "CAP_SYS_PTRACE"]


def analyze(*words: str) -> str:
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no systemd-analyze here: apt-get install -y systemd")
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.parametrize("path", ALL, ids=lambda p: p.name)
def test_units_are_verified_by_systemd(path: Path, tmp_path: Path) -> None:
    """systemd knows every setting; the exposure it computes is at most 1.2 without, 2.3 with privileges."""
    unit = tmp_path / path.name.replace("@.", "@x.")
    unit.write_text(path.read_text())
    complaints = [line for line in analyze("verify", str(unit)).splitlines() if "is not executable" not in line]
    assert complaints == []
    level = analyze("security", "--offline=true", str(unit)).strip().splitlines()[-1]
    assert float(level.split(":")[1].split()[0]) <= (2.3 if "root" in path.name else 1.2)


@pytest.mark.slow
def test_units_acme_socket(tmp_path: Path) -> None:
    """Port 80, passed to the agent by the name that a worker expects; systemd reports no problem."""
    path = UNITS[0].with_name("certagent-http01.socket")
    found = settings(path)
    assert (["80"], [SOCKET]) == (found["ListenStream"], found["FileDescriptorName"])
    assert ["certagent.service"] == found["Service"]
    for unit in (path, path.with_name("certagent.service")):
        (tmp_path / unit.name).write_text(unit.read_text())
    complaints = [
        line for line in analyze("verify", str(tmp_path / path.name)).splitlines() if "is not executable" not in line
    ]
    assert complaints == []
