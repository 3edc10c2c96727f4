"""Why a pair is issued: a kind, by which others decide, and a sentence, which is shown and never read."""

from dataclasses import dataclass
from enum import Enum, auto


class Cause(Enum):
    """The kinds of reasons to ask for a certificate, or for a bundle."""

    MISSING = auto()  # a bundle
    OVERLAP = auto()  # a bundle lacks a root that is pinned
    UNUSABLE = auto()
    FUTURE = auto()  # its validity begins long after now
    REVOKED = auto()
    EXPOSED = auto()  # others could read the key
    REQUESTED = auto()  # by an operator
    CHANGED = auto()  # the configuration asks for something else
    DUE = auto()
    PENDING = auto()  # an authority has the request


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a pair is issued."""

    kind: Cause
    sentence: str

    @property
    def by_date(self) -> bool:
        """It is renewed because it is due: then the new one must expire later."""
        return self.kind in {Cause.DUE, Cause.PENDING}
