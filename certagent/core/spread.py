"""A changed setting that is pushed to a whole fleet: its hosts ask their CA one after the other, not in one second.

From when the agent goes by the configuration, each file waits up to 15 minutes, or 5 % of the certificate's lifetime,
by its hash. The agent remembers that moment in memory alone: one that starts again waits again, so that a restart of
the whole fleet spreads as well. What an embedded CA issues does not wait. Nor does `run --once`, or `plan` without an
agent. Rejected: to count from the date of the file, because configuration management may push it hours before it has
the agents go by it.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from certagent.core.facts import Leaf
from certagent.core.policy import Policy
from certagent.core.timing import lifetime, unit

LONGEST = timedelta(minutes=15)


def begun(policies: Iterable[Policy], before: Iterable[Policy], now: datetime) -> tuple[Policy, ...]:
    """Given the policies that the agent goes by from now on, say so; one that has not changed keeps its moment."""
    known = {policy.path: policy for policy in before}
    since = {policy.path: known[policy.path].since for policy in policies if known.get(policy.path) == policy}
    return tuple(replace(policy, since=since.get(policy.path, now)) for policy in policies)


def spread_until(policy: Policy, stem: str, leaf: Leaf, now: datetime) -> datetime | None:
    """Until when a certificate waits that the configuration wants otherwise; None: no longer.

    Where the clock was set back since, nobody knows how long that is, and it waits for nothing.
    """
    if policy.since is None or now < policy.since:
        return None
    at = policy.since + min(lifetime(leaf) / 20, LONGEST) * unit(policy.seed, stem, "changed")
    return at if now < at else None
