"""A name that fails every validation, asked for by the backoff of the core under the limit of the ACME backend."""

from datetime import datetime, timedelta
from typing import Any

from certagent.authority.backends.acme.limits import Failures
from certagent.core.facts import Attempt
from certagent.core.timing import retry_at
from tests.core.building import NOW, leaf, want

NAME, URL = "db1.example.com", "https://ca.example/directory"
KEPT = 30  # attempts of a kind that the ledger returns


def busiest_hour() -> int:
    """Failed validations in the worst hour of a day; the first attempts come as fast as the backoff lets them."""
    live = leaf(not_after=NOW + timedelta(days=30))
    shared, failed, tried, now = dict[str, Any](), tuple[Attempt, ...](), list[datetime](), NOW
    while now < NOW + timedelta(days=1):
        known = Failures(shared, URL, now)
        until = known.until(NAME)
        if until is None:
            known.add(NAME)
            tried.append(now)
        failed = (*failed, Attempt("issue", "node", now, "failed", retry_at=until))[-KEPT:]
        now = retry_at(failed, want(), live, "db1") or now
    return max(sum(0 <= (at - begin) / timedelta(hours=1) < 1 for at in tried) for begin in tried)
