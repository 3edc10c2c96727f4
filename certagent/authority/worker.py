"""The worker process that asks a CA: one request on standard input, one answer on standard output, then it exits.

Everything is imported first, as the user that started it, because perhaps only that user can read the interpreter. Then
the request is read, all rights are given up (sandbox/confining.py), and only then the network is used. An alarm ends a
request at its deadline with an answer that says so; the agent kills a process that is still there a moment later.
Rejected: a long-lived worker, which would keep credentials between requests and need supervision.
"""

import importlib
import json
import os
import re
import signal
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import FrameType, ModuleType
from typing import Any, NoReturn

from certagent.authority.backends.http import Http
from certagent.authority.contact import Contact, Contacted
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import (
    LONGEST_REASON,
    Answer,
    Failure,
    Pending,
    Request,
    State,
    dump_answer,
    dump_contact,
    dump_state,
    failure_of,
    load_question,
    plain,
)
from certagent.authority.redaction import SHORTEST, hide, scrubbed, shown
from certagent.core.words import framed
from certagent.sandbox import Missing, Profile, confine
from certagent.sandbox.exchange import DONE
from certagent.sandbox.loading import load_whole
from certagent.sandbox.resolving import start as start_resolver
from certagent.sandbox.worker_process import user_of

LIBRARIES = ("cryptography", "certagent.x509")
USED_BY_SOME = ("dns",)  # loaded where a backend uses it
PORT = re.compile(r"https?://(?:\[[^\]]*\]|[^/:\s]+)(?::(\d+))?", re.IGNORECASE)
HTTP, HTTPS = 80, 443
PROBE = "probe"
RESOLVER_SECONDS = 60.0  # of processor time


def main() -> int:
    """`worker TYPE UID:GID`: one request. `worker probe UID:GID`: what cannot be confined here, as JSON."""
    kind, who = sys.argv[1:3]
    out = os.dup(1)
    os.dup2(2, 1)  # a library that prints spoils no answer
    _write(out, _probed(user_of(who)) if kind == PROBE else _answered(kind, user_of(who), out))
    return 0


def _probed(user: tuple[int, int] | None) -> bytes:
    """Everything is given up, and nothing asked."""
    return json.dumps([asdict(missing) for missing in confine(Profile(), user, os.environ["TMPDIR"], 10)]).encode()


def _answered(kind: str, user: tuple[int, int] | None, out: int) -> bytes:
    """The answer to the question on standard input; on the way to it the agent saves what must not be lost."""
    backend = importlib.import_module(f"certagent.authority.backends.{kind}")
    if user is not None:
        _load(backend)
    start_resolver(user, RESOLVER_SECONDS)  # before there is a secret in this process
    request, secrets, state = load_question(sys.stdin.buffer.readline())
    hide(*hidden(request, secrets), shortest=SHORTEST)
    confine(profile_of(backend, request), user, os.environ["TMPDIR"], request.timeout)
    contact = Contacted(tell=_telling(out)) if request.progress else Contacted()
    answer = answer_of(backend, request, secrets, state, _saving(out, state), contact)
    return dump_answer(redacted(answer, hidden(request, secrets)), state)


def _load(backend: ModuleType) -> None:
    """All that may be imported on the way to an answer: the other user may not be able to read it."""
    load_whole(*LIBRARIES, *([backend.__name__] if hasattr(backend, "__path__") else []))
    load_whole(*(name for name in USED_BY_SOME if name in sys.modules))


def _saving(out: int, state: State) -> Callable[[], None]:
    """What lets the agent save the state, and returns when that is durable."""

    def save() -> None:
        if not _said(out, dump_state(state)):
            raise AuthorityError("cannot ask the CA: the agent has not saved the account or the order")

    return save


def _telling(out: int) -> Callable[[Contact], None]:
    """What tells the agent how far the request has come, for somebody who waits for each step."""

    def tell(contact: Contact) -> None:
        if not _said(out, dump_contact(contact)):
            raise AuthorityError("cannot ask the CA: the agent does not listen")

    return tell


def _said(out: int, line: bytes) -> bool:
    """Whether the agent took a line before the answer."""
    with os.fdopen(os.dup(out), "wb") as file:
        file.write(line)
    return sys.stdin.buffer.readline() == DONE


def _write(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def profile_of(backend: ModuleType, request: Request) -> Profile:
    """What the backend says that it needs (`needs(options)`, optional); and the ports of URLs in the options."""
    made: Profile = backend.needs(request.options) if hasattr(backend, "needs") else Profile()
    if made.connect is None:
        return made
    return replace(made, connect=(*made.connect, *ports_of([request.options, request.tls.proxy])))


def ports_of(value: Any) -> set[int]:
    """The ports of every URL in a value, however deep."""
    if isinstance(value, str):
        found = PORT.match(value)
        return {int(found[1]) if found[1] else HTTPS if value.lower().startswith("https") else HTTP} if found else set()
    if isinstance(value, dict):
        value = list(value.values())
    return set().union(*(ports_of(v) for v in value)) if isinstance(value, list | tuple) else set()


def answer_of(
    backend: ModuleType,
    request: Request,
    secrets: dict[str, str],
    state: State,
    save: Callable[[], None] = lambda: None,
    contact: Contacted | None = None,
) -> Answer:
    """Ask; whatever goes wrong is an answer too."""
    signal.signal(signal.SIGALRM, _over)
    signal.setitimer(signal.ITIMER_REAL, max(request.timeout, 0.1))
    http = Http(request.tls, request.timeout, contact=contact)
    try:
        context = Context(secrets, state, http, lambda: datetime.now(UTC), save)
        answer: Answer = backend.ask(request, context)
    except AuthorityError as error:
        answer = failure_of(error)
    except MemoryError:
        answer = Failure("malformed", "cannot read the CA's answer: it needs more memory than a worker has")
    except Exception as error:  # noqa: BLE001 - any exception of a library on untrusted bytes is a failure of the CA
        why = framed(shown(error, LONGEST_REASON // 2))
        answer = Failure("failed", f"cannot use what the CA answered: {type(error).__name__}: {why}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return replace(answer, contact=http.contact.value) if isinstance(answer, Failure) else answer


def _over(_number: int, _frame: FrameType | None) -> NoReturn:
    raise AuthorityError("cannot get an answer from the CA within `timeout`", kind="unreachable")


def hidden(request: Request, secrets: dict[str, str]) -> list[str]:
    """What no reason may repeat: the secrets, the enrolment key, and user and password as a header has them."""
    user = request.options.get("username")
    pair = user.encode() + b":" + secrets["password"].encode() if user and "password" in secrets else b""
    basic = [b64encode(pair).decode()] if pair else []
    return [*basic, *secrets.values(), request.tls.client_key, request.proof]


def redacted(answer: Answer, secrets: list[str]) -> Answer:
    """A failure, or a request that waits, without a secret in its words, printable and bounded."""
    if not isinstance(answer, Failure | Pending):
        return answer
    lines = {line for value in secrets for line in (value, *value.splitlines())}
    reason = scrubbed(answer.reason, frozenset(line for line in lines if len(line) >= SHORTEST))
    return replace(answer, reason=plain(scrubbed(reason)))


__all__ = ["Missing", "main"]
