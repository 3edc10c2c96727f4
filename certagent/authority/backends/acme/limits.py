"""How often the validation of a name failed within the hour: Let's Encrypt allows five, for each account and name.

More attempts cannot succeed, and each is one more failure. They are kept in the authority's shared state, so that every
file of every certs-dir that asks for the name is counted.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from certagent.authority.errors import AuthorityError

HOUR, MOST = timedelta(hours=1), 5


class Failures:
    """The failed validations at one directory."""

    def __init__(self, shared: dict[str, Any], directory_url: str, now: datetime) -> None:
        """`shared`: changed in place; each failure has a key of its own, so that concurrent requests are merged."""
        self._shared, self._now, self._prefix = shared, now, f"failed validation {directory_url} "
        for key in [k for k, at in shared.items() if k.startswith(self._prefix) and self._over(at)]:
            del shared[key]

    def _over(self, at: Any) -> bool:
        """Whether it no longer counts; one of the future was recorded by a clock that was wrong."""
        moment = self._now.timestamp()
        return not isinstance(at, int | float) or not moment - HOUR.total_seconds() < at <= moment

    def add(self, name: str) -> None:
        """One more, now."""
        at = self._now.timestamp()
        self._shared[f"{self._prefix}{name} {at:.6f}"] = at

    def until(self, name: str) -> datetime | None:
        """When the name may be validated again; None: now."""
        start = f"{self._prefix}{name} "
        times = sorted(at for key, at in self._shared.items() if key.startswith(start))
        return datetime.fromtimestamp(times[-MOST], UTC) + HOUR if len(times) >= MOST else None

    def check(self, names: Iterable[str]) -> None:
        """Raise AuthorityError where a name may not be validated yet."""
        waits = [(at, name) for name in names if (at := self.until(name))]
        if waits:
            at, name = max(waits)
            raise AuthorityError(f"cannot validate {name}: {told(at)}", kind="rate-limited", retry_at=at)


def told(until: datetime) -> str:
    """Why, and until when, a name is not validated."""
    again = until.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{MOST} validations of it failed within an hour, which is the limit of public CAs; the next is at {again}"
