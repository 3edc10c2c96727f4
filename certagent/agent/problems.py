"""What holds for every certs directory of an agent and is no fact of one of them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from certagent.authority.client import hangs
from certagent.core.catalogue import PATH_HUNG
from certagent.core.findings import Finding
from certagent.core.restarts import restarting
from certagent.core.status import rfc3339
from certagent.posix.background import BackgroundReader
from certagent.state.starts import Starts


def hung(readings: Iterable[BackgroundReader[Any]], now: datetime) -> tuple[Finding, ...]:
    """What has not answered for longer than a disk of this host takes."""
    found = [f"{r.what}: not responding since {rfc3339(r.since)}" for r in readings if hangs(r, now)]
    return (PATH_HUNG.found("", "; ".join(found)),) if found else ()


def crashes(starts: Starts, now: datetime) -> tuple[Finding, ...]:
    """That the agent keeps ending."""
    found = restarting(starts.all(), now)
    return (found,) if found else ()
