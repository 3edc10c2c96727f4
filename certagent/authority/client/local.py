"""The embedded CA as an authority: files on this host, used in the agent's own jobs."""

import os
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from certagent.authority.backends.local import LocalAuthority
from certagent.authority.client.interface import Order
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Pending, Renewal
from certagent.config import LocalConfig
from certagent.core.facts import Authority
from certagent.core.names import UI
from certagent.posix.errors import HostError
from certagent.state.authority_state import AuthorityState

MADE = "embedded"  # the directories of its CAs
RESTORE = "restore the directory from a backup, or configure a new CA under another name"


class Embedded:
    """The CA of this host."""

    may_defer, common_name, endpoint = False, True, False

    def __init__(self, name: str, config: LocalConfig, book: AuthorityState) -> None:
        """Touches nothing."""
        c, self._book, self._config = config, book, config
        self._creates = config.create
        self._name, self._directory = name, c.directory
        self._ca = LocalAuthority(
            c.directory, c.create, c.lifetime, c.ca_lifetime, c.key, c.ca_cert, c.ca_key, c.urls, others=book.others
        )

    @property
    def pinned(self) -> bool:
        """Once it exists."""
        return self._ca.exists()

    @property
    def files(self) -> tuple[str, ...]:
        """Its directory."""
        return (self._directory,)

    def take_created(self) -> bool:
        """Whether it was made since this was last asked."""
        return self._ca.take_created()

    def challenge(self) -> str:
        """It wants none."""
        return ""

    def fact(self) -> Authority:
        """Its roots where it exists already, and what is lost of one that did; asking never makes it."""
        try:
            if self._missing():
                return Authority(self._name, "local", (), self._gone(), RESTORE)
            exists = self._ca.exists()
            closed = self._ca.closed() if exists else None
            roots, source = self._ca.known_roots(), os.path.join(self._directory, self._config.ca_cert)
            return Authority(self._name, "local", roots, closed, source=source, uncreated=not exists)
        except (AuthorityError, HostError) as error:
            return Authority(self._name, "local", (), str(error))

    def _missing(self) -> bool:
        """It was made or used before, and is not there."""
        made = None if self._ca.exists() else self._book.read(self._name, "")[0].get(MADE)
        return isinstance(made, list) and self._directory in made

    def _gone(self) -> str:
        return f"its CA is missing from {self._directory}"

    def _absent(self) -> str:
        how = (
            "a new one is made only with the first trust bundle; copy the ca.crt and ca.key of the existing bundle"
            " there, or restore the directory from a backup"
        )
        return f"there is no CA of authority {self._name!r} in {self._directory}: {how}"

    def bundle(self, certs_dir: str, stem: str, now: datetime, *, first: bool, known: bytes = b"") -> bytes:  # noqa: ARG002 - always these
        """Its certificates. Raises AuthorityError where it is gone: another CA never replaces it without a message."""
        if not first or self._missing():
            self._existing()
        self._ca.ensure(now)
        self._remember()
        return self._ca.roots()

    def issue(self, order: Order, now: datetime) -> bytes | Pending:
        """Signed here. It is made for a first `ui` alone: for every other leaf a trust bundle comes before."""
        if order.stem != UI.stem or order.live or self._missing():
            self._existing()
        self._ca.ensure(now)
        self._remember()
        return self._ca.issue(order.csr, now, server=order.server, client=order.client, lifetime=order.lifetime)

    def rehearsed(self, scratch: str, now: datetime) -> "Embedded | None":
        """The CA as it would be created, in a directory to throw away; None where it is there, or is lost.

        Raises AuthorityError where it could not be created.
        """
        if not self._creates or self._ca.exists() or self._missing():
            return None
        place = _first_that_exists(self._directory)
        if not _writable(place):
            raise AuthorityError(f"cannot create a CA in {self._directory}: {place} is not writable for the agent")
        made = replace(self._config, directory=f"{scratch}/ca")
        found = Embedded(self._name, made, AuthorityState(f"{scratch}/state"))
        found.bundle("", "ca", now, first=True)
        return found

    def _existing(self) -> None:
        if self._creates and not self._ca.exists():
            gone = (
                f"cannot use authority {self._name}: {self._gone()}; {RESTORE}" if self._missing() else self._absent()
            )
            raise AuthorityError(gone, kind="refused")

    def _remember(self) -> None:
        """That it exists; where nothing can be remembered, the bundle and the ledger still know it."""
        with suppress(HostError):
            shared = self._book.read(self._name, "")[0]
            known = shared.get(MADE)
            made = known if isinstance(known, list) else []
            if self._directory not in made:
                self._book.write(self._name, "", shared, {**shared, MADE: [*made, self._directory]}, {})

    def delivered(self, certs_dir: str, stem: str) -> None:
        """It keeps nothing."""

    def renewal(self, certs_dir: str, stem: str, live: bytes, now: datetime) -> Renewal:  # noqa: ARG002 - it has none
        """It says nothing of when to renew: always raises AuthorityError."""
        raise AuthorityError("the embedded CA has no renewal information", kind="refused")


def _first_that_exists(path: str) -> str:
    """The path, or the nearest directory above it that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _writable(path: str) -> bool:
    """Whether the path is a directory in which the agent can make something."""
    return os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK, effective_ids=True)
