"""Facts about the authorities from files that may be on other machines: read in the background, cached with an age.

An authority is unreadable while its first reading has not ended, or a later one takes longer than the patience. It is
not asked then, because the request would read the same files.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from certagent.authority.client.interface import CertificateAuthority
from certagent.config import AuthorityConfig
from certagent.core.facts import Authority
from certagent.posix.background import BackgroundReader

PATIENCE = timedelta(seconds=5)


class AuthorityCache:
    """The facts of every authority of one configuration."""

    def __init__(
        self,
        configured: Mapping[str, AuthorityConfig],
        authorities: Mapping[str, CertificateAuthority],
        changed: Callable[[], None],
        before: "AuthorityCache | None" = None,
    ) -> None:
        """Reads nothing. What `before` knows of an authority that is configured as it was stays known."""
        self._configured = {name: configured[name] for name in authorities}
        kept = before.same(self._configured) if before else {}
        self.readings: dict[str, BackgroundReader[Authority]] = {}
        for name, authority in authorities.items():
            what = f"authority {name}: {', '.join(authority.files)}"
            paths = partial(tuple, authority.files)
            self.readings[name] = kept.get(name) or BackgroundReader(what, authority.fact, changed, paths)

    def same(self, configured: Mapping[str, AuthorityConfig]) -> dict[str, BackgroundReader[Authority]]:
        """The readings of those that are configured as here."""
        return {n: self.readings[n] for n, c in self._configured.items() if configured.get(n) == c}

    def facts(self, now: datetime) -> tuple[Authority, ...]:
        """What is known, without touching a file."""
        return tuple(self._fact(name, reading, now) for name, reading in self.readings.items())

    def _fact(self, name: str, reading: BackgroundReader[Authority], now: datetime) -> Authority:
        hung, found = hangs(reading, now), reading.found
        if found is None:
            return Authority(name, self._configured[name].type, unreadable="hung" if hung else "unread")
        return replace(found, unreadable="hung") if hung else found


def hangs(reading: BackgroundReader[Any], now: datetime) -> bool:
    """Whether a reading takes longer than a disk of this host would."""
    since = reading.since
    return since is not None and now - since > PATIENCE
