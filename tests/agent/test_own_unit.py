"""What is to be done about a directory that the agent's unit keeps read-only."""

from pathlib import Path

import pytest

from certagent.agent.own_unit import own_unit, read_only_remedy, writable

PLACE = "/var/lib/prometheus/node-exporter"
SHIPPED = f"[Service]\nReadWritePaths=-{PLACE}\nReadWritePaths=-/var/lib/cockroach\n"
RESTART = "its ReadWritePaths= names the directory, and takes effect when the unit starts"


@pytest.mark.parametrize(
    ("cgroups", "unit"),
    [
        ("0::/system.slice/certagent.service\n", "certagent.service"),
        ("0::/system.slice/system-certagent.slice/certagent@second.service\n", "certagent@second.service"),
        ("12:pids:/\n1:name=systemd:/system.slice/certagent-root.service\n0::/\n", "certagent-root.service"),
        ("0::/user.slice/user-0.slice/session-3.scope\n", ""),
        ("0::/user.slice/user-0.slice/user@0.service\n", ""),
        ("0::/\n", ""),
    ],
)
def test_own_unit_is_the_service_of_the_control_group(cgroups: str, unit: str) -> None:
    """A session of a person, or a container, is none."""
    assert own_unit(cgroups) == unit


@pytest.mark.parametrize(
    ("unit", "directory", "remedy"),
    [
        ("certagent", PLACE, f"systemctl restart certagent: {RESTART}"),
        ("certagent", f"{PLACE}/inner", f"systemctl restart certagent: {RESTART}"),
        ("certagent@second", PLACE, f"systemctl restart certagent@second: {RESTART}"),
        ("certagent", "/srv/own place", f"systemctl restart certagent: {RESTART}"),
        (
            "certagent",
            "/srv/textfile",
            "systemctl edit certagent: [Service] ReadWritePaths=/srv/textfile, then systemctl restart certagent",
        ),
        ("", PLACE, "mount it writable"),
    ],
)
def test_read_only_directory_has_the_remedy_of_its_unit(unit: str, directory: str, remedy: str, tmp_path: Path) -> None:
    """A directory that the unit names already needs a restart; another one needs a drop-in first."""
    for name in ("certagent.service", "certagent@.service"):
        (tmp_path / name).write_text(SHIPPED)
    (tmp_path / "certagent.service.d").mkdir()
    (tmp_path / "certagent.service.d" / "own.conf").write_text('[Service]\nReadWritePaths="/srv/own place"\n')
    cgroup = tmp_path / "cgroup"
    cgroup.write_text(f"0::/system.slice/{unit}.service\n" if unit else "0::/\n")
    assert read_only_remedy(directory, str(cgroup), (str(tmp_path),)) == remedy


def test_empty_setting_takes_back_what_was_writable(tmp_path: Path) -> None:
    """As systemd reads it; the first place that has the unit counts."""
    for place in ("etc", "usr"):
        (tmp_path / place / "a.service.d").mkdir(parents=True)
    (tmp_path / "usr" / "a.service").write_text(SHIPPED)
    (tmp_path / "etc" / "a.service.d" / "10.conf").write_text("[Service]\nReadWritePaths=\nReadWritePaths=/b\n")
    places = (str(tmp_path / "etc"), str(tmp_path / "usr"))
    assert writable("a.service", places) == ["/b"]
    (tmp_path / "etc" / "a.service").write_text("[Service]\nReadWritePaths=+/c\n")
    (tmp_path / "etc" / "a.service.d" / "10.conf").unlink()
    assert writable("a.service", places) == ["/c"]
