"""How far the requests of one worker to its CA came: only then is it known that the CA answers, and is trusted."""

from dataclasses import dataclass
from typing import Literal, get_args

Contact = Literal["none", "asked", "answered"]  # nothing was sent, or no trusted endpoint answered, or one did
CONTACTS: tuple[Contact, ...] = get_args(Contact)


@dataclass(slots=True)
class Contacted:
    """What all requests of one worker share."""

    value: Contact = "none"

    def asked(self) -> None:
        """A request is about to be sent."""
        if self.value == "none":
            self.value = "asked"

    def answered(self, *, trusted: bool) -> None:
        """An answer came; one of an endpoint that was not verified tells nothing of its certificate."""
        if trusted:
            self.value = "answered"
