"""Rotations as `rotation status --json` and `status --json` print them, and what a person does next.

The next command follows from the phase and from what was said, never from a sentence.
"""

from collections.abc import Iterable
from typing import Any

from certagent.core.facts.members import STOPS
from certagent.core.names import CA
from certagent.core.policy import Policy
from certagent.core.rotation.phases import Rotation, Row, rotations
from certagent.core.rotation.target import visible
from certagent.core.view import View

BY_PHASE = {
    "known": "certagent bundle add FILE",
    "leaf": "certagent rotation clients present",
    "leaves-everywhere": "certagent rotation clients present",
    "clients-done": "certagent bundle prune",
}


def under_way(view: View) -> tuple[Rotation, ...]:
    """The rotations in which there is something to see."""
    return rotations(view) if visible(view.snapshot) else ()


def rotation(policy: Policy, found: Rotation, *, several: bool = False) -> dict[str, Any]:
    """One rotation, field by field; `several`: the next command has to name the directory."""
    verb = command(policy, found)
    return {
        "bundle": found.bundle,
        "root": found.root,
        "subject": found.subject,
        "former": list(found.former),
        "phase": found.phase,
        "waits_for": found.waits,
        "reason": found.why,
        "next": f"{verb} --certs-dir {policy.path}" if several and verb.startswith("certagent ") else verb,
        "first": found.first,
        "words": list(found.words),
        "accepting": found.accepting,
        "serving": found.serving,
        "members": [member(row) for row in found.rows],
    }


def member(row: Row) -> dict[str, Any]:
    """One member, or one port of this host."""
    about = {"accepts": row.accepts, "serves": row.serves, "reason": row.reason, "forced": row.forced}
    return {"address": row.address, "own": row.own, **about}


def command(policy: Policy, found: Rotation) -> str:
    """What a person does next, "" where the rotation waits for machines alone."""
    verb = _verb(policy, found)
    return verb if not verb.startswith("certagent ") or found.bundle == CA.stem else f"{verb} --bundle {found.bundle}"


def _verb(policy: Policy, found: Rotation) -> str:
    if STOPS & set(found.words):
        return "certagent rotation resume"
    if found.waits == "machines":
        return ""
    if found.unissued:
        return "name the new CA in `authority`, or switch the CA"
    if found.incomplete and found.phase != "known":
        return "set `peers` in [certs_dir.rotation]"
    trust = policy.rotation.outside_clients and "clients-trust" not in found.words
    return BY_PHASE.get(found.phase, "certagent rotation clients trust" if trust else "")


def exit_code(found: Iterable[dict[str, Any]]) -> int:
    """Given rotations as they are shown, return 0 where there is none, 2 if machines are waited for, 3 if a person."""
    return max((3 if each["waits_for"] == "person" else 2 for each in found), default=0)
