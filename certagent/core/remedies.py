"""Remedies where no command of ours renews a pair: nobody configured it, or somebody else rotates it.

The rules (rules.py) name `certagent renew`; whoever knows that it would be refused says what helps instead.
"""

from dataclasses import replace

from certagent.core.actions import Finding
from certagent.core.names import stem_of

RENEW = "certagent renew"
BY_OTHERS = "issued again by whoever rotates it, or configure an authority"
ELSE = "where the agent runs; else start it: systemctl start certagent, or certagent run"


def renews(found: Finding) -> bool:
    """Whether the remedy is another certificate."""
    return RENEW in found.remedy or BY_OTHERS in found.remedy


def unmanaged(found: Finding) -> Finding:
    """The same of a pair that nobody configured."""
    if not renews(found):
        return found
    stem = stem_of(found.file)
    return replace(found, remedy=f"replace or remove {stem}.crt and {stem}.key: nothing of it is configured here")


def by_others(found: Finding) -> Finding:
    """The same of a pair that no authority issues."""
    return replace(found, remedy=f"have {stem_of(found.file)}.crt {BY_OTHERS}") if renews(found) else found


def without_agent(found: Finding) -> Finding:
    """The same where no agent answered, or nobody asked whether one does: the command needs it."""
    return replace(found, remedy=f"{found.remedy}, {ELSE}") if RENEW in found.remedy else found
