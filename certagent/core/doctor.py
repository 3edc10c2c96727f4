"""What `certagent doctor` says: one line for each thing that must hold, with the remedy where it does not.

The findings of `status` are judged already; here they are sorted by what they are about. What only systemd knows (the
unit, its sandbox) is judged here, from what systemd and the kernel say of it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from certagent.core.facts import Process
from certagent.core.reaching import Access, Need
from certagent.core.spelling import printable, spelled
from certagent.core.units import HOMES, below, drop_in

Outcome = Literal["ok", "warning", "failed", "untested"]
EXITS: dict[Outcome, int] = {"ok": 0, "untested": 0, "warning": 1, "failed": 2}
MARKS: dict[Outcome, str] = {"ok": "ok      ", "untested": "-       ", "warning": "WARNING ", "failed": "FAILED  "}
OF_SEVERITY: dict[str, Outcome] = {"ok": "ok", "info": "untested", "warning": "warning", "critical": "failed"}
ABOUT = {  # by the area of a finding's code; of all others: "certificates"
    "dir": "directory",
    "path": "directory",
    "process": "cockroach",
    "served": "cockroach",
    "authority": "authorities",
    "worker": "kernel",
    "watch": "kernel",
    "clock": "clock",
    "ledger": "state",
    "agent": "agent",
    "config": "configuration",
}
SHOWN = ("directory", "certificates", "cockroach", "authorities")  # what has a line where nothing is wrong, too
FINE = {
    "directory": "can be read",
    "certificates": "no finding",
    "cockroach": "no finding",
    "authorities": "everything that they need can be read",
}
PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "Result",
    "ExecMainStatus",
    "User",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "ExecStart",
    "ProtectHome",
    "ProtectSystem",
    "PrivateTmp",
    "ReadWritePaths",
    "InaccessiblePaths",
    "StateDirectory",
    "RuntimeDirectory",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was examined."""

    check: str
    outcome: Outcome
    message: str
    remedy: str = ""


def exit_code(lines: Iterable[Line]) -> int:
    """0 all is well or was not tested, 1 a warning, 2 something failed."""
    return max((EXITS[line.outcome] for line in lines), default=0)


def document(lines: Iterable[Line]) -> dict[str, Any]:
    """The document for --json."""
    return {"version": 1, "checks": [spelled(asdict(line)) for line in lines]}


def text(line: Line) -> str:
    """One line for people."""
    return printable(
        f"{MARKS[line.outcome]}{line.check:<14}{line.message}" + (f"; {line.remedy}" if line.remedy else "")
    )


def of_status(status: Mapping[str, Any]) -> Iterator[Line]:
    """The findings of each directory in a status document, by what they are about, and what has none."""
    for directory in status["certs_dirs"]:
        told: set[str] = set()
        for f in directory["findings"]:
            check = ABOUT.get(f["code"].partition(".")[0], "certificates")
            outcome = OF_SEVERITY[f["severity"]]
            told |= {check}
            inside = f["file"] and not f["file"].startswith("/")
            where = f"{directory['path']}/{f['file']}" if inside else f["file"] or directory["path"]
            yield Line(
                check=check, outcome=outcome, message=f"{where}: {f['code']}: {f['message']}", remedy=f["remedy"]
            )
        for check in SHOWN:
            if check not in told:
                yield Line(check=check, outcome="ok", message=f"{directory['path']}: {FINE[check]}")


def of_unit(
    unit: str, config: str, owners: Mapping[str, str], says: Mapping[str, str], *, known: bool = True, manual: str = ""
) -> Iterator[Line]:
    """Given a unit, the configuration, the owner of each certs directory and what systemd says, judge the unit.

    `known`: this host has the user that the unit names.
    """
    if not says:
        yield Line(check="unit", outcome="untested", message="systemd does not answer here")
        return
    if says.get("LoadState") != "loaded":
        message = f"{unit} is not installed ({says.get('LoadState')})"
        yield Line(check="unit", outcome="failed", message=message, remedy=f"{manual}docs/install.md shows how")
        return
    yield _running(unit, says)
    yield from _lasting(unit, says)
    if config not in says.get("ExecStart", ""):
        message = f"{unit} does not read {config}"
        yield Line(
            check="unit", outcome="warning", message=message, remedy="name its file with -c, or its unit with --unit"
        )
    yield from _user(unit, says.get("User") or "root", owners, known=known)


def _running(unit: str, says: Mapping[str, str]) -> Line:
    if says.get("ActiveState") == "active":
        restarts = int(says.get("NRestarts") or 0)
        again = f", restarted {restarts} times by systemd since it was started" if restarts else ""
        outcome: Outcome = "warning" if restarts else "ok"
        remedy = f"journalctl -u {unit} shows why" if restarts else ""
        return Line(check="unit", outcome=outcome, message=f"{unit} is active{again}", remedy=remedy)
    ended = (
        f", {says['Result']}, exit {says.get('ExecMainStatus')}" if says.get("Result", "success") != "success" else ""
    )
    message = f"{unit} is {says.get('ActiveState')} ({says.get('SubState')}{ended})"
    remedy = f"journalctl -u {unit} -n 20, then systemctl start {unit}"
    return Line(check="unit", outcome="failed", message=message, remedy=remedy)


def _lasting(unit: str, says: Mapping[str, str]) -> Iterator[Line]:
    state = says.get("UnitFileState", "")
    if state == "enabled":
        yield Line(check="unit", outcome="ok", message=f"{unit} starts at boot")
    else:
        message = f"{unit} does not start at boot ({state or 'unknown'})"
        yield Line(check="unit", outcome="warning", message=message, remedy=f"systemctl enable {unit}")
    if says.get("NeedDaemonReload") == "yes":
        remedy = f"systemctl daemon-reload && systemctl restart {unit}"
        yield Line(check="unit", outcome="warning", message=f"the files of {unit} have changed", remedy=remedy)


def _user(unit: str, user: str, owners: Mapping[str, str], *, known: bool) -> Iterator[Line]:
    if not known:
        message = f"{unit} cannot start: user {user} does not exist"
        remedy = f"useradd --system --home-dir /var/lib/{user} --create-home {user}"
        yield Line(check="user", outcome="failed", message=message, remedy=remedy)
        return
    wrong = {path: owner for path, owner in owners.items() if user not in {"root", owner}}
    for path, owner in wrong.items():
        message = f"{unit} runs as {user}, but {path} has owner = {owner}"
        remedy = "correct `owner`, or use certagent@OWNER or certagent-root"
        yield Line(check="user", outcome="failed", message=message, remedy=remedy)
    if not wrong:
        yield Line(check="user", outcome="ok", message=f"{unit} runs as {user}")


def of_access(unit: str, need: Need, access: Access, *, seen: bool) -> Line | None:
    """Given whether the unit reaches a path, return the line; None where it does.

    `seen`: the running agent's own view of the path says so, not the settings of the unit alone.
    """
    if access == "ok":
        return None
    by = f"for the running {unit}" if seen else f"for {unit}, by its settings"
    if access == "missing":
        message, remedy = f"{need.why}: {need.path} does not exist {by}", "create it, or correct the setting"
        return Line(check="sandbox", outcome="failed", message=message, remedy=remedy)
    if access == "denied":
        message = f"{need.why}: the agent's user may not {'write' if need.write else 'read'} {need.path}"
        return Line(check="sandbox", outcome="failed", message=message, remedy="chown or chmod it for that user alone")
    lines = drop_in((need.of_directory,)) if need.of_directory else _opening(need)
    message = f"{need.why}: {need.path} is {access} {by}"
    return Line(check="sandbox", outcome="failed", message=message, remedy=f"systemctl edit {unit}: {' '.join(lines)}")


def of_sandbox(paths: int, unit: str, says: Mapping[str, str], *, seen: bool) -> Line:
    """Given that no path is known to be out of reach, say how that is known, or that it is not."""
    usable = f"{paths} paths of the configuration can be used"
    if seen:
        return Line(check="sandbox", outcome="ok", message=f"{usable}, as the running {unit} sees them")
    if not unit:
        return Line(check="sandbox", outcome="ok", message=f"{usable}, by owners and modes; no unit is known")
    if says.get("LoadState") != "loaded":
        why = "systemd does not answer" if not says else f"systemd has not loaded {unit}"
        message = f"{why}: whether the unit reaches {paths} paths is not known; owners and modes permit it"
        return Line(check="sandbox", outcome="untested", message=message)
    return Line(check="sandbox", outcome="ok", message=f"{usable}, by modes and the unit's settings")


def _opening(need: Need) -> tuple[str, ...]:
    homes = any(below(need.path, home) for home in HOMES)
    setting = "ReadWritePaths" if need.write else "BindReadOnlyPaths"
    return (
        "[Service]",
        *(["ProtectHome=no"] if homes else []),
        *([] if homes and not need.write else [f"{setting}={need.path}"]),
    )


def of_trial(name: str, trial: Mapping[str, Any]) -> Line:
    """What `authority test` found out."""
    failed = next((s for s in trial["steps"] if s["outcome"] == "failed"), None)
    if failed is None:
        message = f"{name} ({trial['type']}) answers, and its certificate would be installed"
        return Line(check="CA", outcome="ok", message=message)
    message = f"{name} ({trial['type']}): {failed['name']}: {failed['reason']}"
    remedy = f"certagent authority test {name} shows every step"
    return Line(check="CA", outcome="failed", message=message, remedy=remedy)


def of_clock(*, synchronised: bool) -> Line:
    """The kernel's word on the clock."""
    if synchronised:
        return Line(check="clock", outcome="ok", message="the kernel reports the clock as synchronised")
    message, remedy = "no time service synchronises the clock", "start one, such as chrony or systemd-timesyncd"
    return Line(check="clock", outcome="warning", message=message, remedy=remedy)


def of_kernel(*, landlock: int, seccomp: bool, pidfd: bool) -> Iterator[Line]:
    """What confines workers, and what makes signals safe."""
    if landlock and seccomp:
        message = f"workers are confined by Landlock (version {landlock}) and seccomp"
        yield Line(check="kernel", outcome="ok", message=message)
    else:
        lacks = " and ".join(w for w, has in (("Landlock", landlock), ("seccomp", seccomp)) if not has)
        message = f"this kernel has no {lacks} to confine workers"
        remedy = "boot a kernel that has them (lsm=landlock,...)"
        yield Line(check="kernel", outcome="warning", message=message, remedy=remedy)
    if not pidfd:
        message = "this kernel has no pidfd: cockroach cannot be signalled"
        yield Line(check="kernel", outcome="failed", message=message, remedy="boot Linux 5.4 or later")


def of_inotify(used: int, most: int, user: str) -> Line:
    """Given how many inotify instances a user has, and may have, return whether one more is left for the agent."""
    message = f"{user} has {used} of {most} inotify instances"
    if used < most:
        return Line(check="kernel", outcome="ok", message=message)
    remedy = "sysctl fs.inotify.max_user_instances=1024; until then changes are noticed at each rescan only"
    return Line(check="kernel", outcome="warning", message=message, remedy=remedy)


def of_exchange(path: str, problem: str) -> Line:
    """Whether the file system of a certs directory exchanges two files in one step ("": it does)."""
    if not problem:
        return Line(check="kernel", outcome="ok", message=f"{path}: key and certificate can be exchanged in one step")
    message = f"{path}: its file system cannot exchange two files in one step ({problem})"
    remedy = "nothing to do: the key is replaced by a rename, with a moment in which a crash has to be recovered"
    return Line(check="kernel", outcome="untested", message=message, remedy=remedy)


def of_server(path: str, process: Process) -> Line:
    """Given a certs directory and a process that uses it, return its line, with its version and ports."""
    release = ".".join(map(str, process.terms.release)) if process.terms.release else "not known from its path"
    ports = ", ".join(x.address for x in process.listeners) or "no port yet"
    who = f"pid {process.pid} ({process.command or process.user})"
    message = f"{path}: {who}, version {release}: {ports}; {process.state}"
    return Line(check="cockroach", outcome="ok", message=message)


def of_holder(path: str, holder: int, agent: int | None, user: str = "") -> Line:
    """Given who holds the lock of a certs directory (0: nobody) and the agent that answers, return whether it is it.

    `user`: whom the holder runs as; "" where that is not known.
    """
    if holder in {0, agent}:
        other = "no other agent" if agent else "no agent"
        message = f"{path} is managed by this agent (pid {agent})" if holder else f"{other} manages {path}"
        return Line(check="agent", outcome="ok", message=message)
    message = f"{path} is managed by another process (pid {holder})" + (f", which runs as {user}" if user else "")
    remedy = f"stop one of the two agents: systemctl status {holder}"
    return Line(check="agent", outcome="failed", message=message, remedy=remedy)
