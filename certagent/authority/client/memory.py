"""What an authority remembers, during one request to it: saved on the way where a crash must not lose it."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from typing import Any

from certagent.authority.contact import Contact
from certagent.authority.messages import State, load_contact, load_state
from certagent.posix.errors import HostError
from certagent.state.authority_state import AuthorityState

Heard = Callable[[Contact], None]


def registered(shared: dict[str, Any]) -> bool:
    """Whether this agent has an account at the CA: its URI is known, or the CA type has no accounts."""
    accounts = shared.get("accounts", {}).values()
    return bool(shared) and all("uri" in account for account in accounts)


class Deliveries:
    """What is done once a certificate is staged; until then a crash finds it again, at the CA or in the inbox."""

    def __init__(self, book: AuthorityState, name: str) -> None:
        """Nothing was issued yet."""
        self._book, self._name = book, name
        self._issued: dict[str, tuple[State, list[Callable[[], None]]]] = {}

    def issued(self, key: str, state: State, tidy: list[Callable[[], None]]) -> None:
        """A certificate for the file of that key: what its backend remembers and removes from then on."""
        self._issued[key] = state, tidy

    def done(self, key: str) -> None:
        """It is staged."""
        found = self._issued.pop(key, None)
        if found is None:
            return
        state, tidy = found
        with suppress(HostError):  # an order that is left from an earlier request does no harm
            self._book.write(self._name, key, state.shared, state.shared, state.own)
        for remove in tidy:
            remove()


class Memory:
    """What an authority remembers, during one request."""

    def __init__(self, book: AuthorityState, name: str, key: str) -> None:
        """`key`: of the file that is asked for, "" for none. Raises HostError."""
        self._book, self._name, self._key = book, name, key
        self.saved = State(*book.read(name, key))
        self.tidy: list[Callable[[], None]] = []  # what is done once the certificate is staged

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

    def hearing(self, told: Heard | None) -> Callable[[bytes], None]:
        """What takes a line that a worker prints before its answer: how far it has come, or what is to be saved.

        That raises AuthorityError, HostError.
        """

        def heard(line: bytes) -> None:
            if told is not None and (contact := load_contact(line)):
                told(contact)
            else:
                self.save(load_state(line))

        return heard
