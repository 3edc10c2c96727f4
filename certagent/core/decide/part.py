"""What one question contributes to a plan."""

from collections.abc import Iterable
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
        if self is NOTHING:
            return other
        return Part(
            self.actions + other.actions,
            self.blocked + other.blocked,
            self.findings + other.findings,
            self.wakes + other.wakes,
        )


NOTHING = Part()


def total(parts: list[Part]) -> Part:
    """Everything of all of them: linear where adding one by one would be quadratic."""
    some = [p for p in parts if p is not NOTHING]
    if not some:
        return NOTHING
    actions: list[Action] = []
    waiting: list[Blocked] = []
    findings: list[Finding] = []
    wakes: list[datetime] = []
    for part in some:
        actions += part.actions
        waiting += part.blocked
        findings += part.findings
        wakes += part.wakes
    return Part(tuple(actions), tuple(waiting), tuple(findings), tuple(wakes))


def saying(findings: Iterable[Finding]) -> Part:
    """What is only said."""
    found = tuple(findings)
    return Part(findings=found) if found else NOTHING


def blocked(action: str, subject: str, reason: str, until: datetime | None = None, *, refused: bool = False) -> Part:
    """One blocked action, and when it may continue; `refused`: a command that asks for it is refused."""
    return Part(blocked=(Blocked(action, subject, reason, until, refused),), wakes=() if until is None else (until,))
