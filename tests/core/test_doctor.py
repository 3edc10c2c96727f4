"""What `certagent doctor` says, from what systemd, the kernel and `status` say."""

from typing import Any

import pytest

from certagent.core.doctor import (
    Line,
    document,
    exit_code,
    of_access,
    of_clock,
    of_exchange,
    of_holder,
    of_inotify,
    of_kernel,
    of_sandbox,
    of_server,
    of_status,
    of_trial,
    of_unit,
    text,
)
from certagent.core.facts import LoaderFlags
from certagent.core.reaching import Need, by_rights, by_settings, has_modes, unseen
from certagent.core.units import unit_reading
from tests.core.building import process

CONFIG = "/etc/certagent/config.toml"
RUNS = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "Result": "success",
    "User": "cockroach",
    "NRestarts": "0",
    "NeedDaemonReload": "no",
    "ExecStart": f"{{ path=/usr/bin/certagent ; argv[]=/usr/bin/certagent run -c {CONFIG} ; }}",
}
SHIPPED = {
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "ReadWritePaths": "-/var/lib/cockroach",
    "StateDirectory": "certagent",
    "RuntimeDirectory": "certagent",
}


def unit(owner: str = "cockroach", **changes: str) -> list[tuple[str, str, str]]:
    lines = of_unit("certagent", CONFIG, {"/certs": owner}, {**RUNS, **changes})
    return [(line.check, line.outcome, f"{line.message}; {line.remedy}") for line in lines]


def test_doctor_unit_that_runs() -> None:
    """Active, enabled, as the owner: nothing to do."""
    assert unit() == [
        ("unit", "ok", "certagent is active; "),
        ("unit", "ok", "certagent starts at boot; "),
        ("user", "ok", "certagent runs as cockroach; "),
    ]


@pytest.mark.parametrize(
    ("changes", "outcome", "words"),
    [
        ({"NRestarts": "7"}, "warning", "restarted 7 times by systemd"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "failed", "certagent is inactive (dead); journalctl"),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "64"},
            "failed",
            "certagent is failed (failed, exit-code, exit 64); journalctl -u certagent -n 20, then systemctl start",
        ),
        ({"UnitFileState": "disabled"}, "warning", "does not start at boot (disabled); systemctl enable certagent"),
        ({"UnitFileState": ""}, "warning", "does not start at boot (unknown)"),
        ({"NeedDaemonReload": "yes"}, "warning", "systemctl daemon-reload && systemctl restart certagent"),
        ({"ExecStart": "certagent run -c /other.toml"}, "warning", f"certagent does not read {CONFIG}"),
        ({"User": "other"}, "failed", "certagent runs as other, but /certs has owner = cockroach"),
        ({"LoadState": "not-found"}, "failed", "certagent is not installed (not-found)"),
    ],
)
def test_doctor_unit_problem_has_remedy(changes: dict[str, str], outcome: str, words: str) -> None:
    """Each with the command that mends it."""
    assert [(o, words in said) for _, o, said in unit(**changes) if words in said] == [(outcome, True)]


def test_doctor_unit_of_root_serves_any_owner() -> None:
    """User= is empty for root, who acts as each owner."""
    assert ("user", "ok", "certagent runs as root; ") in unit("second", User="")


def test_doctor_unit_whose_user_is_missing_fails() -> None:
    """A unit cannot start as a user that this host does not have: the command makes that user."""
    *_, last = of_unit("certagent", CONFIG, {}, RUNS, known=False)
    assert (last.check, last.outcome) == ("user", "failed")
    assert last.message == "certagent cannot start: user cockroach does not exist"
    assert last.remedy == "useradd --system --home-dir /var/lib/cockroach --create-home cockroach"


def test_doctor_unit_without_systemd_is_untested() -> None:
    """In a container there is no unit: that is no failure."""
    lines = list(of_unit("certagent", CONFIG, {}, {}))
    assert [(line.check, line.outcome) for line in lines] == [("unit", "untested")]
    assert exit_code(lines) == 0


@pytest.mark.parametrize(
    ("path", "write", "changes", "access"),
    [
        ("/var/lib/cockroach", True, {}, "ok"),
        ("/var/lib/certagent/ca", True, {}, "ok"),
        ("/run/certagent", True, {}, "ok"),
        ("/srv/cockroach", True, {}, "read-only"),
        ("/srv/cockroach", False, {}, "ok"),
        ("/srv/cockroach", True, {"ReadWritePaths": "/srv"}, "ok"),
        ("/srv/cockroach", True, {"InaccessiblePaths": "-/srv"}, "hidden"),
        ("/home/roach", False, {}, "hidden"),
        ("/home/roach", True, {"ProtectHome": "tmpfs"}, "hidden"),
        ("/root/token", False, {"ProtectHome": "read-only"}, "ok"),
        ("/root/token", True, {"ProtectHome": "read-only"}, "read-only"),
        ("/home/roach", True, {"ProtectHome": "no", "ReadWritePaths": "/home/roach"}, "ok"),
        ("/tmp/certs", True, {}, "hidden"),
        ("/tmp/certs", True, {"PrivateTmp": "no"}, "read-only"),
        ("/tmp/certs", True, {"PrivateTmp": "no", "ProtectSystem": "full"}, "ok"),
        ("/etc/certagent", True, {"ProtectSystem": "full"}, "read-only"),
        ("/etc/certagent", True, {"ProtectSystem": "no"}, "ok"),
        ("/dev/shm", True, {}, "ok"),
    ],
)  # fmt: skip
def test_doctor_sandbox_by_settings(path: str, write: bool, changes: dict[str, str], access: str) -> None:
    """What systemd.exec(5) says of ProtectHome, ProtectSystem, PrivateTmp, ReadWritePaths and InaccessiblePaths."""
    assert access == by_settings(Need(path=path, why="x", write=write), {**SHIPPED, **changes})


NEED = Need(path="/srv/crdb", why="certs directory /srv/crdb/certs", write=True, of_directory="/srv/crdb/certs")
SECRET = Need(path="/home/x/token", why="authority.pki.token")
INBOX = Need(path="/srv/in", why="authority.people.inbox", write=True)
OTHER = Need(path="/tmp/t", why="x")
OF_NEED = "certs directory /srv/crdb/certs: /srv/crdb"
EDIT, BY = "systemctl edit certagent: [Service]", " for certagent, by its settings"
OWN = "chown or chmod it for that user alone"


@pytest.mark.parametrize(
    ("need", "access", "seen", "said"),
    [
        (NEED, "read-only", True, f"{OF_NEED} is read-only for the running certagent; {EDIT} ReadWritePaths=/srv/crdb"),
        (NEED, "missing", False, f"{OF_NEED} does not exist{BY}; create it, or correct the setting"),
        (SECRET, "hidden", False, f"authority.pki.token: /home/x/token is hidden{BY}; {EDIT} ProtectHome=no"),
        (INBOX, "read-only", False, f"authority.people.inbox: /srv/in is read-only{BY}; {EDIT} ReadWritePaths=/srv/in"),
        (OTHER, "hidden", False, f"x: /tmp/t is hidden{BY}; {EDIT} BindReadOnlyPaths=/tmp/t"),
        (SECRET, "denied", True, f"authority.pki.token: the agent's user may not read /home/x/token; {OWN}"),
        (INBOX, "denied", True, f"authority.people.inbox: the agent's user may not write /srv/in; {OWN}"),
    ],
)  # fmt: skip
def test_doctor_sandbox_line_has_drop_in(need: Need, access: Any, seen: bool, said: str) -> None:
    """The setting that opens the path, for the unit that needs it."""
    line = of_access("certagent", need, access, seen=seen)
    assert line
    assert (f"{line.message}; {line.remedy}", line.outcome) == (said, "failed")
    assert of_access("certagent", need, "ok", seen=seen) is None


def test_doctor_sorts_findings_of_status() -> None:
    """Each finding once, by what it is about; what has none says so; info fails nothing."""

    def row(code: str, severity: str, file: str = "") -> dict[str, str]:
        return {"code": code, "severity": severity, "file": file, "message": "m", "remedy": "r"}

    found = [
        row("cert.expired", "critical", "node.crt"),
        row("process.none", "info", "/certs"),
        row("dir.mode", "warning"),
    ]
    lines = list(of_status({"certs_dirs": [{"path": "/certs", "findings": found}, {"path": "/fine", "findings": []}]}))
    assert [(line.check, line.outcome, line.message) for line in lines] == [
        ("certificates", "failed", "/certs/node.crt: cert.expired: m"),
        ("cockroach", "untested", "/certs: process.none: m"),
        ("directory", "warning", "/certs: dir.mode: m"),
        ("authorities", "ok", "/certs: everything that they need can be read"),
        ("directory", "ok", "/fine: can be read"),
        ("certificates", "ok", "/fine: no finding"),
        ("cockroach", "ok", "/fine: no finding"),
        ("authorities", "ok", "/fine: everything that they need can be read"),
    ]
    assert exit_code(lines) == 2


@pytest.mark.parametrize(
    ("outcomes", "code"), [((), 0), (("ok", "untested"), 0), (("warning", "ok"), 1), (("failed",), 2)]
)
def test_doctor_exit_code(outcomes: Any, code: int) -> None:
    """By the worst line."""
    assert code == exit_code(Line(check="x", outcome=o, message="m") for o in outcomes)


def test_doctor_line_is_one_line() -> None:
    """For people and as JSON: control characters that others chose have no effect."""
    line = Line(check="CA", outcome="failed", message="a\nb\x1b", remedy="do it")
    assert text(line) == "FAILED  CA            a\\nb\\x1b; do it"
    assert text(Line(check="CA", outcome="ok", message="fine")) == "ok      CA            fine"
    assert document([line])["checks"][0]["message"] == "a\\nb\\x1b"


def test_doctor_ca_by_its_trial() -> None:
    """The step that failed, or that a certificate would be installed."""
    good = {"type": "step", "steps": [{"name": "tls", "outcome": "ok", "reason": ""}]}
    bad = {"type": "step", "steps": [{"name": "tls", "outcome": "failed", "reason": "no trust"}]}
    assert (of_trial("pki", good).outcome, of_trial("pki", bad).outcome) == ("ok", "failed")
    assert of_trial("pki", bad).message == "pki (step): tls: no trust"


def test_doctor_clock_kernel_and_limits() -> None:
    """What is there is ok; what is missing names the remedy."""
    assert [of_clock(synchronised=s).outcome for s in (True, False)] == ["ok", "warning"]
    assert [x.outcome for x in of_kernel(landlock=7, seccomp=True, pidfd=True)] == ["ok"]
    poor = list(of_kernel(landlock=0, seccomp=False, pidfd=False))
    assert [x.outcome for x in poor] == ["warning", "failed"]
    assert "no Landlock and seccomp" in poor[0].message
    assert "no Landlock to" in next(iter(of_kernel(landlock=0, seccomp=True, pidfd=True))).message
    assert [of_inotify(n, 128, "cockroach").outcome for n in (3, 128)] == ["ok", "warning"]
    assert [of_exchange("/certs", p).outcome for p in ("", "Invalid argument")] == ["ok", "untested"]


@pytest.mark.parametrize(
    ("holder", "agent", "outcome"), [(7, 7, "ok"), (0, None, "ok"), (0, 7, "ok"), (8, 7, "failed"), (8, None, "failed")]
)
def test_doctor_another_agent(holder: int, agent: int | None, outcome: str) -> None:
    """Who holds the lock of a directory is the agent that answers, or nobody; anybody else is another agent."""
    assert outcome == of_holder("/certs", holder, agent).outcome


def test_doctor_another_agent_is_named_with_its_user() -> None:
    """Of two agents for one directory the other one's pid and user are said, and the command that shows it."""
    told = of_holder("/certs", 7, 8, "root")
    assert told.message == "/certs is managed by another process (pid 7), which runs as root"
    assert told.remedy == "stop one of the two agents: systemctl status 7"
    assert of_holder("/certs", 7, 8).message.endswith("(pid 7)")


@pytest.mark.parametrize(
    ("unit", "says", "seen", "outcome", "words"),
    [
        ("certagent", RUNS, True, "ok", "as the running certagent sees them"),
        ("certagent", RUNS, False, "ok", "by modes and the unit's settings"),
        ("certagent", {}, False, "untested", "systemd does not answer: whether the unit reaches 4 paths is not known"),
        ("certagent", {"LoadState": "not-found"}, False, "untested", "systemd has not loaded certagent"),
        ("", {}, False, "ok", "by owners and modes; no unit is known"),
    ],
)
def test_doctor_sandbox_is_not_called_good_where_nobody_knows(
    unit: str, says: dict[str, str], outcome: str, words: str, *, seen: bool
) -> None:
    """Without systemd's answer the settings of a unit are not known; without a unit there are none."""
    line = of_sandbox(4, unit, says, seen=seen)
    assert (line.outcome, words in line.message) == (outcome, True)


@pytest.mark.parametrize(
    ("holder", "agent", "message"),
    [
        (7, 7, "/certs is managed by this agent (pid 7)"),
        (0, 7, "no other agent manages /certs"),  # the lock is not seen, or not taken yet
        (0, None, "no agent manages /certs"),
        (8, 7, "/certs is managed by another process (pid 8)"),
    ],
)
def test_doctor_names_the_agent_of_a_directory(holder: int, agent: int | None, message: str) -> None:
    """Where an agent answers, it is not said that none manages the directory."""
    assert message == of_holder("/certs", holder, agent).message


@pytest.mark.parametrize(
    ("config", "unit"),
    [
        ("/etc/certagent/config.toml", "certagent"),
        ("/etc/certagent/root.toml", "certagent-root"),
        ("/etc/certagent/second.toml", "certagent@second"),
        ("/etc/certagent/cockroach.toml", "certagent@cockroach"),
        ("/etc/certagent/config.json", ""),
        ("/tmp/config.toml", ""),
    ],
)
def test_doctor_unit_by_configuration(config: str, unit: str) -> None:
    """The unit that reads the file as it is shipped."""
    assert unit == unit_reading(config)


@pytest.mark.parametrize(
    ("error", "there", "access"),
    [
        (FileNotFoundError(), False, "missing"),
        (FileNotFoundError(), True, "hidden"),  # the unit's own mounts cover it
        (PermissionError(), True, "hidden"),
    ],
)
def test_doctor_path_not_opened_in_the_view_of_the_unit(error: OSError, there: bool, access: str) -> None:
    """What this host has and the unit has not is hidden from the unit."""
    assert access == unseen(error, there=there)


@pytest.mark.parametrize(
    ("of_directory", "me", "examined"),
    [("", 0, True), ("", 7, True), ("", 8, False), ("/certs", 0, False)],
)
def test_doctor_whose_modes_are_examined(of_directory: str, me: int, examined: bool) -> None:
    """Another user than root and the agent's cannot find out what the agent's user may."""
    assert examined == has_modes(Need(path="/x", why="x", of_directory=of_directory), 7, me)


@pytest.mark.parametrize(
    ("may", "there", "access"), [(True, True, "ok"), (False, True, "denied"), (False, False, "ok")]
)
def test_doctor_path_by_owners_and_modes(may: bool, there: bool, access: str) -> None:
    """What does not exist is not denied."""
    assert access == by_rights(may=may, there=there)


def test_doctor_server_without_version_and_port() -> None:
    """A process is named by its user where its command is not known, and what is not known is said."""
    line = of_server("/certs", process(command="", listeners=(), state="starting"))
    user = process().user
    assert line.message == f"/certs: pid 100 ({user}), version not known from its path: no port yet; starting"


def test_doctor_server_with_version() -> None:
    """The version and the ports of a server are shown."""
    made = process(command="cockroach start", terms=LoaderFlags(release=(24, 1)))
    ports = ", ".join(x.address for x in made.listeners)
    assert of_server("/certs", made).message == f"/certs: pid 100 (cockroach start), version 24.1: {ports}; serving"
