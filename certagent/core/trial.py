"""`certagent authority test`: which steps worked, as a function of how asking ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
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
Contact = Literal["none", "asked", "answered"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `untried` after one that failed, and where the failure does not tell.

    `seconds`: since the step that ended before; None where it is not measured alone, or did not end.
    """

    name: str
    outcome: Literal["ok", "failed", "untried"]
    reason: str = ""
    seconds: float | None = None


def place(kind: str, contact: Contact, *, endpoint: bool) -> tuple[str, tuple[str, ...]]:
    """Given how asking failed, return the step that failed, and the steps before it of which that tells nothing.

    `contact`: how far the request came. `endpoint`: whether the agent asked an endpoint itself; else a failure tells
    nothing of any other step.
    """
    if not endpoint:
        return FAILS[kind], STEPS[1:]
    if contact == "answered":
        return FAILS[kind], UNTOLD.get(kind, ())
    if kind == "unreachable" or (kind == "tls" and contact == "asked"):
        return FAILS[kind], ()
    return ("settings", ()) if contact == "none" and kind != "malformed" else (FAILS[kind], STEPS[1:])


def steps(
    failed: str, reason: str, unknown_steps: tuple[str, ...] = (), seconds: Mapping[str, float] = MappingProxyType({})
) -> tuple[Step, ...]:
    """Given the step that failed ("": none), why, and those before it of which that tells nothing, return all."""
    place = STEPS.index(failed) if failed else len(STEPS)

    def step(i: int, name: str) -> Step:
        if i == place:
            return Step(name, "failed", reason, seconds.get(name))
        ok = i < place and name not in unknown_steps
        return Step(name, "ok", "", seconds.get(name)) if ok else Step(name, "untried")

    return tuple(step(i, name) for i, name in enumerate(STEPS))
