"""How far the requests of one worker to its CA came: only then is it known that the CA answers, and is trusted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

Contact = Literal["none", "asked", "answered"]  # nothing was sent, or no trusted endpoint answered, or one did
CONTACTS: tuple[Contact, ...] = get_args(Contact)


def untold(_contact: Contact) -> None:
    """Nobody wants to know before the answer."""


@dataclass(slots=True)
class Contacted:
    """What all requests of one worker share; `tell` hears of each change."""

    value: Contact = "none"
    tell: Callable[[Contact], None] = untold

    def asked(self) -> None:
        """A request is about to be sent."""
        if self.value == "none":
            self._reached("asked")

    def answered(self, *, trusted: bool) -> None:
        """An answer came; one of an endpoint that was not verified tells nothing of its certificate."""
        if trusted and self.value != "answered":
            self._reached("answered")

    def _reached(self, contact: Contact) -> None:
        self.value = contact
        self.tell(contact)
