"""What an authority remembers, during one request to it: saved on the way where a crash must not lose it."""

from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

from certagent.authority.messages import State, load_state
from certagent.posix.errors import HostError
from certagent.state.authority_state import AuthorityState


def registered(shared: dict[str, Any]) -> bool:
    """Whether the CA has an account of ours: known by its URI, or of a type that has no such thing."""
    accounts = shared.get("accounts", {}).values()
    return bool(shared) and all("uri" in account for account in accounts)


class Memory:
    """What an authority remembers, during one request."""

    def __init__(self, book: AuthorityState, name: str, key: str) -> None:
        """`key`: of the file that is asked for, "" for none. Raises HostError."""
        self._book, self._name, self._key = book, name, key
        self.saved = State(*book.read(name, key))

    def save(self, state: State) -> None:
        """Remember it durably. Raises HostError."""
        self._book.write(self._name, self._key, self.saved.shared, state.shared, state.own if self._key else {})
        self.saved = deepcopy(state)

    def ended(self, state: State, *, issued: bool) -> None:
        """Remember what an answer leaves; an order until its certificate is staged. Raises HostError.

        A certificate counts, disk full or not.
        """
        if not issued:
            self.save(state)
            return
        with suppress(HostError):
            self.save(replace(state, own=self.saved.own))

    def saves(self, line: bytes) -> None:
        """The same for what a worker prints. Raises AuthorityError, HostError."""
        self.save(load_state(line))
