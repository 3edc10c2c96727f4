"""What one question contributes to a plan."""

from dataclasses import dataclass
from datetime import datetime

from certagent.core.actions import Action, Blocked
from certagent.core.findings import Finding


@dataclass(frozen=True, slots=True)
class Part:
    """Parts add up; an empty one changes nothing."""

    actions: tuple[Action, ...] = ()
    blocked: tuple[Blocked, ...] = ()
    findings: tuple[Finding, ...] = ()
    wakes: tuple[datetime, ...] = ()

    def __add__(self, other: "Part") -> "Part":
        """Everything of both, in order."""
        if other is NOTHING:
            return self
        return Part(
            self.actions + other.actions,
            self.blocked + other.blocked,
            self.findings + other.findings,
            self.wakes + other.wakes,
        )


NOTHING = Part()


def total(parts: list[Part]) -> Part:
    """Everything of all of them: linear where adding one by one would be quadratic."""
    return Part(
        tuple(a for p in parts for a in p.actions),
        tuple(h for p in parts for h in p.blocked),
        tuple(f for p in parts for f in p.findings),
        tuple(w for p in parts for w in p.wakes),
    )


def blocked(action: str, subject: str, reason: str, until: datetime | None = None, *, refused: bool = False) -> Part:
    """One blocked action, and when it may continue; `refused`: a command that asks for it is refused."""
    return Part(blocked=(Blocked(action, subject, reason, until, refused),), wakes=() if until is None else (until,))
