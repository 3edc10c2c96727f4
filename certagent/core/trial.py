"""`certagent authority test`: which steps worked, as a function of how asking ended."""

from dataclasses import dataclass
from typing import Literal

STEPS = ("settings", "reachable", "tls", "credentials", "policy", "answer", "chain", "gate")
MEANING = {
    "settings": "the settings, secrets and files can be read",
    "reachable": "the CA answers",
    "tls": "its endpoint is the one that is trusted",
    "credentials": "it takes our credentials",
    "policy": "it agrees to what is asked for",
    "answer": "its answer is a certificate",
    "chain": "the chain builds to the bundle that the nodes use",
    "gate": "the pair would be installed",
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


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `untried` after one that failed."""

    name: str
    outcome: Literal["ok", "failed", "untried"]
    reason: str = ""


def steps(failed: str, reason: str) -> tuple[Step, ...]:
    """Given the step that failed ("": none) and why, return all of them."""
    place = STEPS.index(failed) if failed else len(STEPS)
    return tuple(
        Step(name, "ok") if i < place else Step(name, "failed", reason) if i == place else Step(name, "untried")
        for i, name in enumerate(STEPS)
    )
