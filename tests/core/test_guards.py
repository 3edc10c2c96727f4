"""The policy of asking: which guard decides first."""

import inspect
from dataclasses import replace

from certagent.core.actions import RejectCommand
from certagent.core.decide import decide, guards
from certagent.core.decide.renewal import POLICY
from certagent.core.facts import Clock, Request
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, staged

DUE = pair(cert=leaf(dns=("db1.example.com", "old"), not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY))
UNSOUND = Clock(sound=False, reason="it is 1970")


def test_guards_are_all_in_the_policy_once() -> None:
    """A guard that the table does not name guards nothing."""
    written = [f for name, f in inspect.getmembers(guards, inspect.isfunction) if not name.startswith("_")]
    own = [f for f in written if f.__module__ == guards.__name__]
    assert sorted(f.__name__ for f in own) == sorted(guard.__name__ for guard, _ in POLICY)


def test_guard_first_objection_decides() -> None:
    """A staged answer before an unsound clock, that before names that would vanish; only the last refuses the pair.

    The command is declined already for the clock.
    """
    worst = snapshot(pair("ca"), DUE, clock=UNSOUND, staged=(staged(),), requests=(Request("renew", "node", NOW),))
    told = []
    for found in (worst, replace(worst, staged=()), replace(worst, staged=(), clock=Clock())):
        made = decide(policy(), found, NOW)
        held = [h for h in made.blocked if h.action == "issue"]
        told.append(([h.refused for h in held], any(isinstance(a, RejectCommand) for a in made.actions)))
    assert told == [([], True), ([False], True), ([True], True)]
