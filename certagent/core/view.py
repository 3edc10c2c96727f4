"""The input of decide as one value: policy, snapshot and the current time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from certagent.core.actions import Plan
from certagent.core.clock import SETTLED
from certagent.core.facts import InFlight, Leaf, Pair, Snapshot
from certagent.core.facts.history import History
from certagent.core.policy import Policy, Want
from certagent.core.spans import span
from certagent.core.timing import renew_at

JUMPED = "the clock was set and is not synchronised; what only the new time makes due waits"


@dataclass(frozen=True, kw_only=True)
class View:
    """One certs-dir and its policy at one moment."""

    policy: Policy
    snapshot: Snapshot
    now: datetime

    @cached_property
    def want(self) -> Callable[[str], Want | None]:
        """Given a stem, what is configured for that name."""
        return self.policy.want

    @cached_property
    def pair(self) -> Callable[[str], Pair | None]:
        """Given a stem, the live pair of that name."""
        return self.snapshot.pair

    @property
    def before_jump(self) -> "View | None":
        """The same at the moment that it would be, had nobody set the clock; None where the clock is believed.

        While the kernel does not say that the clock is synchronised, nothing is done that only a jump made due, unless
        the clock has settled since.
        """
        steady = self.snapshot.clock.steady
        return replace(self, now=steady) if steady else None

    @property
    def jumped(self) -> str:
        """Why something waits that `before_jump` does not know of, and for how long."""
        steady = self.snapshot.clock.steady
        return f"{JUMPED} for {span(SETTLED)}" if steady and steady < self.now else JUMPED

    @cached_property
    def history(self) -> History:
        """What was attempted here, and how it ended."""
        return self.snapshot.history

    def renew_at(self, want: Want, leaf: Leaf) -> datetime:
        """When to renew a live leaf, given as `Pair.effective`. One of which nothing is recorded is seen now."""
        key = want.name.stem, leaf.fingerprint
        found = self._renew_at.get((*key, leaf.not_after))
        if found is None:
            known = self.snapshot.known_since.get(key, self.now)
            found = self._renew_at[*key, leaf.not_after] = renew_at(want, leaf, self.policy.seed, self.history, known)
        return found

    @cached_property
    def _renew_at(self) -> dict[tuple[str, str, datetime], datetime]:
        """By stem, leaf and end: one decision asks for that of a pair several times."""
        return {}

    def running(self, kind: str, subject: str | None = None) -> InFlight | None:
        """A job of that kind that runs now: one about that subject, where a subject is given."""
        if not self.snapshot.in_flight:
            return None
        found = self._in_flight.get(kind, {})
        return next(iter(found.values()), None) if subject is None else found.get(subject)

    @cached_property
    def _in_flight(self) -> dict[str, dict[str, InFlight]]:
        found: dict[str, dict[str, InFlight]] = {}
        for job in self.snapshot.in_flight:
            found.setdefault(job.kind, {})[job.subject] = job
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The newest snapshot and plan of one certs-dir, under the policy that they were made by."""

    policy: Policy
    snapshot: Snapshot
    plan: Plan
    checked: datetime | None = None  # when the last check of the directory ended
    current: bool = True  # False: the directory could not be checked since, so nothing is planned

    def at(self, now: datetime) -> View:
        """What was seen, as it is judged at a moment."""
        return View(policy=self.policy, snapshot=self.snapshot, now=now)
