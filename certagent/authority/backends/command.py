"""Any program as a CA: the request on its standard input, PEM on its standard output, exit codes for the rest.

Codes are those of sysexits.h where it has one: 0 issued, 69 unreachable, 75 not decided yet, 76 rate limited, 77
refused by policy, 78 credentials or configuration, anything else failed. Rejected: small numbers, which a shell with
`set -e` returns from any command that failed. Lines `retry-after: SECONDS` and `state: TEXT` on either output are for
certagent; the last other line of standard error is the reason.
"""

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from shlex import quote
from typing import Any

from certagent import x509
from certagent.authority.backends.http import moment
from certagent.authority.backends.program import Ended, closed_to_us, confinement, run
from certagent.authority.context import Context
from certagent.authority.errors import AuthorityError, Kind
from certagent.authority.messages import Answer, Issued, Pending, Request, Roots
from certagent.core.words import framed
from certagent.sandbox import Profile
from certagent.x509.bags import any_certificates

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PENDING = 75
KINDS: dict[int, Kind] = {64: "refused", 69: "unreachable", 76: "rate-limited", 77: "refused", 78: "credentials"}
PAUSE = timedelta(minutes=5)
REASON, STATE = 300, 4096
OURS = ("retry-after:", "state:")
SHARED_WRITE = 0o022


def needs(options: Mapping[str, Any]) -> Profile:
    """What a worker may open: what the program's words name, and `readable` and `writable`."""
    return confinement(options["command"], options.get("readable", ()), options.get("writable", ()))


def ask(request: Request, context: Context) -> Answer:
    """One question. Raises AuthorityError."""
    if request.operation == "renewal":
        raise AuthorityError("a command has no renewal information", kind="refused")
    program = request.options["command"][0]
    _unspoilt(program)
    with tempfile.TemporaryDirectory(prefix="certagent-") as area:
        environ = _environ(request, context, area)
        secret = context.secrets.get("secret", "")
        left = context.http.left()
        ended = run(request.options["command"], request.csr.encode(), environ, area, left, secret=secret)
    context.state.own.pop("state", None)
    answer, memory = reading(request, ended, [*context.secrets.values()], context.now())
    if memory:
        context.state.own["state"] = memory
    return answer


def reading(request: Request, ended: Ended, hidden: Sequence[str], now: datetime) -> tuple[Answer, str]:
    """Given how the program ended, return its answer, and what it wants to be reminded of ("": nothing).

    A reason contains nothing of what is `hidden`. Raises AuthorityError.
    """
    program, said = request.options["command"][0], dict(_notes(ended))
    if ended.code == 0:
        return _answer(request, program, ended.out), ""
    at = moment(said.get("retry-after:", ""), now)
    reason = framed(_reason(ended, hidden)) or f"it ended with {_code(ended.code)} and printed no reason"
    if ended.code == PENDING:
        return Pending((at or now + PAUSE).timestamp(), reason), said.get("state:", "")[:STATE]
    what = "read the CA's roots" if request.operation == "roots" else "get a certificate"
    kind = KINDS.get(ended.code, "failed")
    raise AuthorityError(f"cannot {what} by {program}: {reason}", kind=kind, retry_at=at)


def _unspoilt(program: str) -> None:
    """Nobody else may change what runs with the CA's credentials. Raises AuthorityError."""
    try:
        mode = os.stat(program).st_mode
    except OSError as error:
        raise AuthorityError(
            f"cannot run {program}: {closed_to_us(program) or error.strerror}; check `command`", kind="credentials"
        ) from error
    if stat.S_IMODE(mode) & SHARED_WRITE:
        raise AuthorityError(
            f"cannot run {program}: other users may change it; chmod go-w {quote(program)}", kind="credentials"
        )


def _environ(request: Request, context: Context, area: str) -> dict[str, str]:
    """A small environment, and what is asked for. Documented in docs/authorities/command.md."""
    usage = ["serverAuth"] * request.server + ["clientAuth"] * request.client
    asked = {
        "OPERATION": request.operation,
        "NAME": request.stem,
        "NAMES": " ".join(request.names),
        "SAN": ",".join(f"{_kind(n)}:{n}" for n in request.names),
        "PRINCIPAL": request.principal,
        "USAGE": ",".join(usage),
        "LIFETIME": "" if request.lifetime is None else str(int(request.lifetime)),
        "TIMEOUT": str(int(context.http.left())),
        "LIVE": request.live,
        "STATE": str(context.state.own.get("state", "")),
    }
    basic = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": area, "TMPDIR": area}
    return {**basic, **request.options.get("environment", {}), **{f"CERTAGENT_{k}": v for k, v in asked.items()}}


def _kind(name: str) -> str:
    if "://" in name:
        return "URI"
    return "IP" if ":" in name or name.replace(".", "").isdigit() else "DNS"


def _answer(request: Request, program: str, out: bytes) -> Answer:
    try:
        if request.operation == "roots":
            return Roots(any_certificates(out).decode())
        return Issued(x509.arranged(any_certificates(out), x509.parse_request(request.csr.encode()).spki).decode())
    except x509.X509Error as error:
        raise AuthorityError(f"cannot use what {program} printed: {error}", kind="malformed") from error


def _lines(data: bytes) -> list[str]:
    text = data.decode("utf-8", "replace")
    return ["".join(c if c.isprintable() else " " for c in line).strip() for line in text.splitlines()]


def _notes(ended: Ended) -> Iterator[tuple[str, str]]:
    """What was said to us, of both outputs: the last one counts."""
    for line in (*_lines(ended.out), *_lines(ended.err)):
        for name in OURS:
            if line.lower().startswith(name):
                yield name, line[len(name) :].strip()


def _reason(ended: Ended, hidden: Sequence[str]) -> str:
    """The last line of standard error that is not for us, without a secret in it."""
    lines = [line for line in _lines(ended.err) if line and not line.lower().startswith(OURS)]
    reason = lines[-1] if lines else ""
    for value in filter(None, hidden):
        reason = reason.replace(value, "[secret]")
    return reason[:REASON]


def _code(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
