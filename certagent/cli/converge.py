"""`certagent recover --converge`: what a host needs before its server serves again, for an ExecStartPre.

A running agent is asked until nothing is left to do. Without one this command does what an agent would do, but sends no
signal. Exit 0 the server may start, 2 it must not, with the reason.
"""

import argparse
import sys
import time
from dataclasses import replace
from typing import Any

from certagent.cli.common import Reply, Stopped, ask, complaint, read_config

CRITICAL = 2
POLL = 0.2
Row = dict[str, Any]


def run(arguments: argparse.Namespace) -> Reply:
    """Wait for the agent, or converge here, until the deadline; then judge."""
    where, end = arguments.directory or "", time.monotonic() + arguments.wait
    rows = _asked(arguments.config, where)
    if rows is None:
        return _here(arguments.config, where, arguments.wait)
    while not ended(rows) and time.monotonic() < end:
        time.sleep(POLL)
        rows = _asked(arguments.config, where) or rows
    return reply_of(rows)


def _asked(config: str, where: str) -> list[Row] | None:
    """What the agent says of each directory; None without an agent."""
    try:
        answer = ask(config, "may-start", certs_dir=where)
    except Stopped:
        return [{"path": where, "settled": False, "hindrance": "the agent does not answer"}]
    if answer is None:
        return None
    if not answer["ok"]:
        raise Stopped(complaint(answer["error"], CRITICAL))
    found: list[Row] = answer["certs_dirs"]
    return found


def ended(rows: list[Row]) -> bool:
    """Whether waiting longer changes nothing."""
    return all(row["settled"] and not row["hindrance"] for row in rows)


def _here(path: str, where: str, longest: float) -> Reply:
    """Converge in this process, without a signal."""
    from certagent.agent.directories import Directories
    from certagent.agent.rotation import may_start
    from certagent.agent.start import start
    from certagent.posix.errors import HostError

    config = read_config(path, trusted=True)
    chosen = [p for p in config.policies if where in ("", p.path)]
    quiet = replace(config, policies=tuple(replace(p, process=replace(p.process, reload=False)) for p in chosen))
    rows: list[Row] = []

    def judge(directories: Directories) -> int:
        rows.extend(may_start(world) for world in directories)
        return 0

    try:
        start(quiet, path, sys.stderr, config.settings.log, once=longest, judge=judge)
    except (HostError, OSError) as error:
        return complaint(error, CRITICAL)
    return reply_of(rows)


def reply_of(rows: list[Row]) -> Reply:
    """Given what is known of each directory, return what is said; exit 2 where a server must not start."""
    if not rows:
        return complaint("cannot converge: no such certs directory is configured, or it could not be checked", CRITICAL)
    bad = [row for row in rows if row["hindrance"]]
    told = {row["path"]: [not row["hindrance"], row["hindrance"] or "the server may start"] for row in rows}
    lines = [f"{path}: {what}" for path, (good, what) in told.items() if good]
    errors = [f"certagent: {row['path']}: the server must not start: {row['hindrance']}" for row in bad]
    return Reply(
        CRITICAL if bad else 0, "\n".join(lines) or None, {"version": 1, "certs_dirs": told}, "\n".join(errors)
    )
