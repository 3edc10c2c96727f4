"""The agent's side of a look at a member: a question for the probing process, and its answer, which is not trusted."""

import base64
import json
from dataclasses import dataclass
from typing import Any, get_args

from certagent.probe.asking import GRACE, PROBER, SILENT, TIMEOUT, number, printable
from certagent.probe.child import LOOK, allowed
from certagent.probe.looking import MOST_CERTIFICATES, Result
from certagent.probe.metrics import LAST_MOMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How the handshake ended, why, and the chain that the member served, as DER: a stranger's bytes."""

    outcome: Result
    reason: str = ""
    chain: tuple[bytes, ...] = ()
    ca_ends: int = 0  # of its metrics, seconds since 1970; 0: not asked for, or not read


def look(host: str, port: int, pair: str, timeout: float = TIMEOUT, console: int = 0) -> Seen:
    """Offer a member the pair at that path; never raises for what the member does.

    `console`: the port of its DB Console, whose metrics are read too; 0: they are not.
    """
    question = {"host": host, "port": port, "kind": LOOK, "console": console, "timeout": timeout}
    try:
        return seen_of(PROBER.ask(question, pair, allowed(timeout) + GRACE))
    except OSError as error:
        return Seen(outcome="silent", reason=f"cannot start a probe: {error.strerror}")


def seen_of(answer: bytes) -> Seen:
    """Given what a child wrote, return it where each field is what it may be; else that there is no answer."""
    try:
        return _seen(json.loads(answer))
    except (ValueError, TypeError, KeyError, RecursionError):
        return Seen(outcome="silent", reason=SILENT)


def _seen(row: dict[str, Any]) -> Seen:
    """Raises ValueError, TypeError, KeyError where something is not as it should be."""
    results: tuple[Result, ...] = get_args(Result)
    chain = tuple(base64.b64decode(der, validate=True) for der in row["chain"][:MOST_CERTIFICATES])
    outcome, ca_ends = results[results.index(row["outcome"])], number(row["ca_ends"], LAST_MOMENT)
    return Seen(outcome=outcome, reason=printable(row["reason"]), chain=chain, ca_ends=ca_ends)
