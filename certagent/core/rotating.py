"""What the agent does for a rotation alone: values of the union in actions.py."""

from dataclasses import dataclass

from certagent.core.facts import Leaf, Word
from certagent.core.policy import Want


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAt:
    """Look at one member over TLS: offer it a pair of this host, and take note of what it serves. A job."""

    address: str  # host:port
    offers: str  # the stem of the pair that is offered
    staged: bool  # the staged pair of that name, else the live one
    generation: int = 0  # the pair of that generation instead; 0: none
    fingerprint: str  # of its leaf: the host refuses to offer another
    reason: str

    @property
    def subject(self) -> str:
        """One look runs at a time for each member and leaf."""
        return f"{self.address} {self.fingerprint}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Stage a trust bundle without the CAs that nobody needs any more: what `bundle prune` does, after a word."""

    want: Want
    removed: tuple[Leaf, ...]
    reason: str

    @property
    def subject(self) -> str:
        """The stem of the bundle."""
        return self.want.name.stem


@dataclass(frozen=True, slots=True, kw_only=True)
class EndWords:
    """Forget what people said about a rotation that is over: a later one to the same root needs words of its own."""

    bundle: str
    root: str
    reason: str

    @property
    def subject(self) -> str:
        """The stem of the bundle."""
        return self.bundle


def left_after(words: tuple[Word, ...], action: EndWords) -> tuple[Word, ...]:
    """Given what people said, return what counts once that rotation is over."""
    return tuple(w for w in words if (w.bundle, w.root) != (action.bundle, action.root))
