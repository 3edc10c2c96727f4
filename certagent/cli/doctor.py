"""`certagent doctor`: everything that must hold for the agent to work here, one line each, as it is found out."""

import argparse
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from certagent.cli.common import (
    Reply,
    Stopped,
    ask,
    config_option,
    harmless,
    json_option,
    local_service,
    owner_of,
    silence,
    socket_of,
)
from certagent.cli.waiting import Progress

if TYPE_CHECKING:
    from certagent.config import Config
    from certagent.core.doctor import Line

PATIENCE = 75.0  # seconds that a CA has: a worker's own deadline, with what is around it
ONE_TIME = ("one_time_token", "challenge")  # secrets that a test would use up


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("doctor", help="examine configuration, unit, sandbox, CA, clock and kernel")
    parser.add_argument(
        "--unit", default="", metavar="NAME", help="the agent's unit (default: the one that reads FILE)"
    )
    parser.add_argument("--offline", action="store_true", help="ask no CA")
    config_option(parser)
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0 all is well, 1 a warning, 2 something failed. Each line is printed as soon as it is known."""
    from certagent.core.doctor import document, exit_code, text

    lines = []
    for line in examined(arguments):
        lines.append(line)
        if not arguments.json:
            print(harmless(text(line)), flush=True)
    return Reply(exit_code(lines), None, document(lines))


def examined(arguments: argparse.Namespace) -> Iterator["Line"]:
    """Every line, in the order in which one depends on another."""
    from certagent.agent.wake import clock_synchronised
    from certagent.cli.config import lacked
    from certagent.core.doctor import PROPERTIES, Line, of_clock, of_unit
    from certagent.core.units import unit_reading
    from certagent.operations.doctor import kernel
    from certagent.operations.systemd import properties
    from certagent.posix.manual import manual
    from certagent.posix.owner import exists

    path = os.path.abspath(arguments.config)
    config, problems = _configuration(path)
    yield from (Line(check="configuration", outcome="failed", message=p) for p in problems)
    if config:
        paths, names = ", ".join(p.path for p in config.policies), ", ".join(config.authorities) or "none"
        message = f"{path}: certs directories: {paths}; authorities: {names}"
        yield Line(check="configuration", outcome="ok", message=message)
        lacking = lacked(config, path)[0]  # of a directory that does not exist yet `dir.missing` says more
        yield from (Line(check="configuration", outcome="warning", message=each) for each in lacking)
    unit = arguments.unit.removesuffix(".service") or unit_reading(path)
    says = properties(f"{unit}.service", *PROPERTIES) if unit else {}
    user = _user(path, says)
    if config and not config.settings.resident and not arguments.unit:
        yield Line(
            check="unit", outcome="untested", message="resident = false: a timer runs the agent, not a unit of ours"
        )
    elif unit:
        owners = {p.path: p.owner.user for p in config.policies} if config else {}
        yield from of_unit(unit, path, owners, says, known=exists(says.get("User") or "root"), manual=manual())
    else:
        message = f"no unit is known to read {path}"
        yield Line(check="unit", outcome="untested", message=message, remedy="name it with --unit")
    if config:
        yield from _with(config, arguments, user=user, unit=unit, says=says)
    yield of_clock(synchronised=clock_synchronised())
    yield from kernel(config, user)


def _configuration(path: str) -> "tuple[Config | None, tuple[str, ...]]":
    """The configuration, or every mistake in it: what `config check` says."""
    from certagent.agent.config_file import load_trusted
    from certagent.config import ConfigError

    try:
        return load_trusted(path, os.path.realpath, checking=True), ()
    except ConfigError as error:
        return None, error.errors


def _user(path: str, says: dict[str, str]) -> str:
    """Whom the agent runs as: by its unit, else by its state directory, else this user."""
    from certagent.posix.owner import name_of

    if says.get("LoadState") == "loaded":
        return says.get("User") or "root"
    owner = owner_of(path, socket_of(path))
    return name_of(os.geteuid() if owner is None else owner)


def _with(
    config: "Config", arguments: argparse.Namespace, *, user: str, unit: str, says: dict[str, str]
) -> Iterator["Line"]:
    """What a valid configuration allows to examine."""
    from certagent.core.doctor import of_status
    from certagent.operations.doctor import cockroach, holders, owned

    yield from _sandbox(config, unit, says, user)
    yield from (line for p in config.policies if (line := owned(p, user)))
    status, line = _status(arguments.config, config.settings.socket, resident=config.settings.resident)
    yield line
    daemon = (status or {}).get("daemon")
    yield from holders(config, daemon["pid"] if daemon else None)
    if status:
        yield from of_status(status)
    for policy in config.policies:
        yield from cockroach(policy)
    yield from _authorities(config, arguments, agent=daemon is not None, user=user)


def _sandbox(config: "Config", unit: str, says: dict[str, str], user: str) -> Iterator["Line"]:
    from certagent.core.doctor import of_sandbox
    from certagent.operations.doctor import View, needs

    view = View(unit or "the agent", says, user)
    wanted = list(needs(config))
    found = [line for need in wanted if (line := view.judge(need))]
    yield from found
    if not found:
        yield of_sandbox(len(wanted), unit, says, seen=view.seen)
    view.close()


def _status(path: str, socket: str, *, resident: bool) -> "tuple[dict[str, Any] | None, Line]":
    """What the agent says; without one, what can be seen without it."""
    from certagent.core.doctor import Line

    try:
        answer = ask(path, "status")
        if answer is not None:
            pid = answer["document"]["daemon"]["pid"]
            return answer["document"], Line(
                check="socket", outcome="ok", message=f"agent pid {pid} answers at {socket}"
            )
    except Stopped as stopped:
        return None, Line(check="socket", outcome="failed", message=stopped.why, remedy=stopped.remedy)
    message = silence(path)
    silent = Line(check="socket", outcome="warning", message=message, remedy="systemctl start certagent")
    if not resident:
        silent = Line(check="socket", outcome="untested", message=f"{message}; none is expected (resident = false)")
    try:
        service = local_service(path, silent=False)
    except Stopped as stopped:
        remedy = stopped.remedy or "run this as root or the agent's user"
        return None, Line(check="state", outcome="failed", message=stopped.why, remedy=remedy)
    document = service.status(None)
    service.stop()
    return document, silent


def _authorities(config: "Config", arguments: argparse.Namespace, *, agent: bool, user: str) -> Iterator["Line"]:
    """Each CA, by `authority test`, where that costs nothing and changes nothing at the CA but one certificate."""
    from certagent.core.doctor import Line

    used = {name for p in config.policies for w in p.wants for name in w.authorities}
    for name in sorted(used):
        if arguments.offline or (why := _spared(config, name)):
            message = f"{name}: not asked: {'--offline' if arguments.offline else why}"
            yield Line(check="CA", outcome="untested", message=message, remedy=f"certagent authority test {name}")
        else:
            yield _tested(config, arguments.config, name, agent=agent, user=user)


def _spared(config: "Config", name: str) -> str:
    """Why a CA is not asked, "" if it is."""
    from certagent.config.remote import RemoteConfig

    made = config.authorities[name].options
    if not isinstance(made, RemoteConfig):
        return ""
    if made.ca_type.asked == "files":
        return "a person answers"
    if made.ca_type.account:
        return "the CA counts each request against the account's limits"
    return "the test would use up a one-time credential" if set(ONE_TIME) & set(made.secrets) else ""


def _tested(config: "Config", path: str, name: str, *, agent: bool, user: str) -> "Line":
    from certagent.cli.authority import by_ourselves
    from certagent.core.doctor import Line, of_trial
    from certagent.posix.owner import name_of

    shown = Progress(sys.stderr)
    shown.show(f"asking {name}", 0)
    try:
        if agent:
            answer = ask(path, "authority-test", patience=PATIENCE, name=name) or {"error": "the agent ended"}
        elif name_of(os.geteuid()) == user:
            answer = by_ourselves(config, name=name, certs_dir="")
        else:
            message = f"{name}: not asked: only the agent, or {user}, may"
            remedy = f"start the agent, or sudo -u {user} certagent doctor"
            return Line(check="CA", outcome="untested", message=message, remedy=remedy)
    except Stopped as stopped:
        answer = {"error": stopped.why}
    finally:
        shown.clear()
    if "document" in answer:
        return of_trial(name, answer["document"])
    return Line(
        check="CA", outcome="failed", message=f"{name}: {answer['error']}", remedy=f"certagent authority test {name}"
    )
