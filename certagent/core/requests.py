"""Operators' commands, and when they count as carried out."""

from certagent.core.facts import Attempt, Request

ENDED = {"reload": "reload", "renew": "install", "rollback": "rollback"}


def fulfilled(request: Request, attempts: tuple[Attempt, ...]) -> bool:
    """Given a command and the attempts, say whether it was carried out, or tried and refused."""
    after = [a for a in attempts if a.at >= request.at and a.kind == ENDED[request.kind] and a.outcome != "asked"]
    if request.kind == "reload":
        return any(a.outcome in {"ok", "unproven", "failed"} for a in after)
    return any(a.subject == request.subject for a in after)
