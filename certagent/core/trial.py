"""`certagent authority test`: which steps worked, as a function of how asking ended."""

from dataclasses import dataclass
from typing import Literal

STEPS = ("settings", "reachable", "tls", "credentials", "policy", "answer", "chain", "gate")
MEANING = {
    "settings": "settings, secrets and files can be read; the worker can start",
    "reachable": "the CA answers",
    "tls": "server certificate trusted",
    "credentials": "credentials accepted",
    "policy": "request allowed by policy",
    "answer": "certificate received",
    "chain": "certificate chains to the nodes' trust bundle",
    "gate": "passes all pre-install checks",
}
FAILS = {
    "unreachable": "reachable",
    "tls": "tls",
    "credentials": "credentials",
    "refused": "policy",
    "rate-limited": "policy",
    "malformed": "answer",
    "failed": "answer",
}
UNTOLD = dict.fromkeys(("malformed", "failed"), ("credentials", "policy"))  # kinds that say nothing of these


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `untried` after one that failed, and where the failure does not tell."""

    name: str
    outcome: Literal["ok", "failed", "untried"]
    reason: str = ""


def unknown_steps(kind: str, *, endpoint: bool) -> tuple[str, ...]:
    """Given how asking failed, return the steps before it of which that tells nothing.

    `endpoint`: whether the agent asked an endpoint itself; else a failure tells nothing of any other step.
    """
    return UNTOLD.get(kind, ()) if endpoint else STEPS[1:]


def steps(failed: str, reason: str, unknown_steps: tuple[str, ...] = ()) -> tuple[Step, ...]:
    """Given the step that failed ("": none), why, and those before it of which that tells nothing, return all."""
    place = STEPS.index(failed) if failed else len(STEPS)

    def step(i: int, name: str) -> Step:
        if i == place:
            return Step(name, "failed", reason)
        return Step(name, "ok" if i < place and name not in unknown_steps else "untried")

    return tuple(step(i, name) for i, name in enumerate(STEPS))
