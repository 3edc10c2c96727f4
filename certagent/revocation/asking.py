"""The agent's side: questions to a worker, and its lines back to facts. Every question gets an answer."""

import base64
import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from certagent.core.facts import Answer
from certagent.core.facts.revocation import Status
from certagent.posix.errors import HostError
from certagent.sandbox.user import unprivileged
from certagent.sandbox.worker_process import Workers

CHILD = "certagent.revocation.child"
THREADS = 8
START = 15.0  # seconds a loaded machine may take to start the worker
LIST = 15.0  # seconds for one revocation list, which may be large
KEPT = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
MOST_URLS = 8
LONGEST = 300
UNSAID = "the worker did not answer this question"


@dataclass(frozen=True, slots=True)
class Question:
    """One certificate, the one that issued it (both DER), and whom to ask in which order."""

    cert: bytes
    issuer: bytes
    ocsp: tuple[str, ...]
    crl: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which addresses may be asked: public ones; any, with `allow_private`; any at the URLs that are `configured`."""

    allow_private: bool = False
    configured: tuple[str, ...] = ()


PUBLIC = Reach()


def asker() -> Workers:
    """Workers that become the unprivileged user, if the agent is root."""
    return Workers(unprivileged())


def ask(
    workers: Workers,
    questions: Sequence[Question],
    timeout: float,
    *,
    every: bool = False,
    reach: Reach = PUBLIC,
) -> tuple[tuple[Answer, ...], ...]:
    """Given questions, return the answers to each, in the order of asking; never raises.

    `timeout` (seconds) is that of one certificate, all its responders together, as cockroach has it; with `every` each
    responder is asked, with that much time of its own. A list is read only where no responder decides. Whoever must not
    wait any longer stops the workers.
    """
    rows = [_row(number, q) for number, q in enumerate(questions)]
    if not rows:
        return ()
    terms = {"timeout": timeout, "every": every, "list": LIST, "threads": THREADS, **asdict(reach)}
    request = json.dumps({**terms, "environ": environment(os.environ), "questions": rows})
    end = _deadline(questions, timeout, every=every)
    return told(questions, *_run(workers, request.encode(), end), datetime.now(UTC))


def _run(workers: Workers, request: bytes, deadline: float) -> tuple[bytes, str]:
    """What a worker printed, and why nothing else is known."""
    try:
        output = workers.run(CHILD, [], request, deadline)
    except HostError as error:
        return b"", str(error)
    return output.data, output.problem or UNSAID


def told(questions: Sequence[Question], output: bytes, problem: str, at: datetime) -> tuple[tuple[Answer, ...], ...]:
    """Given the worker's output and what was wrong with it, return the answers to each question."""
    answers = _answers_in(output, at)
    return tuple(answers.get(n) or _silent(q, problem, at) for n, q in enumerate(questions))


def _row(number: int, question: Question) -> dict[str, Any]:
    cert, issuer = (base64.b64encode(d).decode() for d in (question.cert, question.issuer))
    urls = {"ocsp": question.ocsp[:MOST_URLS], "crl": question.crl[:MOST_URLS]}
    return {"id": number, "cert": cert, "issuer": issuer, **urls}


def _deadline(questions: Sequence[Question], timeout: float, *, every: bool) -> float:
    """Seconds after which the worker is killed: longer than every timeout that it keeps itself."""
    widest = max(len(q.ocsp[:MOST_URLS]) for q in questions) if every else 1
    lists = LIST * max(len(q.crl[:MOST_URLS]) for q in questions)
    return START + math.ceil(len(questions) / THREADS) * (timeout * widest + lists)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of our environment the worker gets: proxies, and where roots are."""
    return {k: v for k, v in environ.items() if k.upper() in KEPT}


def _answers_in(output: bytes, at: datetime) -> dict[int, tuple[Answer, ...]]:
    """Whole lines of JSON, by question; anything else is a traceback or was cut off."""
    found = {}
    for line in output.split(b"\n")[:-1]:
        with suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            found[int(row["id"])] = tuple(_answer(a, at) for a in row["answers"])
    return found


def _answer(row: dict[str, Any], at: datetime) -> Answer:
    """One answer of the worker; ValueError, KeyError, TypeError if it is malformed."""
    if row["status"] not in get_args(Status) or row["source"] not in {"ocsp", "crl"}:
        raise ValueError("malformed answer")
    this, following, since = (
        datetime.fromtimestamp(row[k], UTC) if row[k] else None for k in ("this_update", "next_update", "revoked_at")
    )
    url, reason = (_printable(str(row[k])) for k in ("url", "reason"))
    return Answer(row["source"], url, row["status"], at, reason, int(row["latency_ms"]), this, following, since)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:LONGEST])


def _silent(question: Question, problem: str, at: datetime) -> tuple[Answer, ...]:
    """What is known where the worker did not tell."""
    source: Literal["ocsp", "crl"] = "ocsp" if question.ocsp else "crl"
    return tuple(Answer(source, url, "unreachable", at, problem) for url in question.ocsp or question.crl)
