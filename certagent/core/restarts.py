"""Whether the agent keeps ending: an agent that is started again each time looks healthy between its ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from certagent.core.catalogue import AGENT_RESTARTING
from certagent.core.findings import Finding
from certagent.core.spans import stamp

WITHIN = timedelta(minutes=10)
MOST = 3  # starts of that time that followed an unexpected end


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of the agent, and whether the agent was stopped afterwards: by SIGTERM or SIGINT."""

    at: datetime
    stopped: bool = False


def restarting(starts: Sequence[Start], now: datetime) -> Finding | None:
    """Given the recorded starts in their order, return the finding; None for fewer than three unexpected ends."""
    again = [b.at for a, b in pairwise(starts) if not a.stopped and now - WITHIN <= b.at <= now]
    if len(again) < MOST:
        return None
    message = f"the agent ended unexpectedly and was started again {len(again)} times within ten minutes"
    return AGENT_RESTARTING.found("", f"{message}, most recently at {stamp(max(again))}")
