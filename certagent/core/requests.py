"""Operators' commands, and when they count as carried out."""

from certagent.core.facts import Attempt, Request

ENDED = {"reload": "reload", "renew": "install", "rollback": "rollback"}


def after(attempt: Attempt, request: Request) -> bool:
    """Whether an attempt came after a command: by the ledger's order, for the clock may have been set back since."""
    return attempt.row > request.row if attempt.row and request.row else attempt.at >= request.at


def fulfilled(request: Request, attempts: tuple[Attempt, ...]) -> bool:
    """Given a command and the attempts, say whether it was carried out, tried and refused, or taken back."""
    taken_back = ("command", request.kind, request.subject)
    if any((a.kind, a.command, a.subject) == taken_back and after(a, request) for a in attempts):
        return True
    ended = [a for a in attempts if after(a, request) and a.kind == ENDED[request.kind] and a.outcome != "asked"]
    if request.kind == "reload":
        return any(a.outcome in {"ok", "unproven", "failed"} for a in ended)
    if request.kind == "rollback":  # it meant the pair that was live then: never the one that came since
        ended += [a for a in attempts if after(a, request) and (a.kind, a.outcome) == ("install", "ok")]
    return any(a.subject == request.subject for a in ended)
