"""Requests to a CA and its answers: values that pass through a pipe as JSON.

A worker gets one Request, the credentials and the saved state of the backend on its standard input, and prints one
Answer with the new state. Neither ever contains a private key of a managed pair: a request carries a CSR, and if a CA
requires proof of possession of the current key, a token that the agent signed (`proof`). Rejected: pickle (an answer
comes from a process that handled untrusted data), and a field per backend (`options` contains what the configuration
has checked already).
"""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from certagent.authority.contact import CONTACTS, Contact
from certagent.authority.errors import KINDS, AuthorityError, Kind

LAST_MOMENT = 2.0**36  # the year 4147
Operation = Literal["issue", "roots", "renewal", "rollover", "deactivate"]


@dataclass(frozen=True, slots=True)
class Tls:
    """How the CA's endpoint is recognised, and how we show who we are."""

    roots: str = ""  # PEM; "": the system's
    fingerprints: tuple[str, ...] = ()  # hex SHA-256 of the endpoint's own certificate, any of them; alone enough
    proxy: str = ""  # "http://host:port"
    allow_http: bool = False  # plain http to another host than this one
    client_cert: str = ""  # PEM of the bootstrap credential: never a managed pair, unless `credential = "leaf"`
    client_key: str = ""
    unverified: bool = False  # for bytes that a pinned digest vouches for, never a secret; no setting leads here


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one CA. `renewal` asks when to renew (ARI), `roots` for the trust bundle.

    `rollover` and `deactivate` are about the account with the CA, where the type has such a thing.
    """

    operation: Operation
    type: str
    options: dict[str, Any]  # of the authority's table, checked by the configuration
    tls: Tls = field(default_factory=Tls)
    stem: str = ""
    csr: str = ""  # PEM
    names: tuple[str, ...] = ()  # SANs asked for, IPs in canonical text
    principal: str = ""  # common name asked for
    server: bool = False
    client: bool = False
    lifetime: float | None = None  # seconds; None: the CA's own
    live: str = ""  # PEM of the live certificate and its chain, where there is one
    proof: str = ""  # a token signed by the daemon with the current key
    timeout: float = 60.0  # seconds for the whole request
    forced: bool = False  # an operator wants no pause that follows failures
    progress: bool = False  # somebody waits for each step: the worker says how far it has come

    @property
    def common_name(self) -> str:
        """That of the CSR: the principal, else the first name."""
        return self.principal or (self.names[0] if self.names else "")


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its chain as PEM, leaf first, without the root."""

    chain: str


@dataclass(frozen=True, slots=True)
class Roots:
    """Candidates for the trust bundle, as PEM: the daemon takes only what is pinned."""

    pem: str


@dataclass(frozen=True, slots=True)
class Renewal:
    """RFC 9773: the window in which to renew, and when to ask again (seconds since 1970)."""

    start: float
    end: float
    again_at: float
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Pending:
    """The request stands and is not answered yet: ask again at that moment (seconds since 1970), with the same CSR."""

    again_at: float
    reason: str
    reminder: bool = False  # it was said before, and somebody may have forgotten it


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked about the account was done."""

    note: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An AuthorityError on its way through the pipe."""

    kind: str
    reason: str
    retry_at: float | None = None
    contact: str = "none"


Answer = Issued | Roots | Renewal | Pending | Done | Failure
ANSWERS = {
    "issued": Issued,
    "roots": Roots,
    "renewal": Renewal,
    "pending": Pending,
    "done": Done,
    "failure": Failure,
}


@dataclass(slots=True)
class State:
    """What a backend remembers between requests, JSON-able; it may change both in place.

    `shared`: of the authority (an ACME account). `own`: of this one file at this authority (an order that waits).
    """

    shared: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)


def dump_question(request: Request, secrets: dict[str, str], state: State) -> bytes:
    """What goes to the worker's standard input."""
    document = {"request": asdict(request), "secrets": secrets, "state": asdict(state)}
    return json.dumps(document).encode() + b"\n"


def load_question(data: bytes) -> tuple[Request, dict[str, str], State]:
    """The other way round, in the worker; ValueError, TypeError, KeyError for anything else."""
    document = json.loads(data)
    fields = dict(document["request"])
    fields["tls"], fields["names"] = Tls(**fields["tls"]), tuple(fields["names"])
    return Request(**fields), dict(document["secrets"]), State(**document["state"])


def dump_state(state: State) -> bytes:
    """What a worker prints before it goes on: a line."""
    return json.dumps(asdict(state)).encode() + b"\n"


def dump_contact(contact: Contact) -> bytes:
    """What a worker prints when its request has come so far: a line."""
    return json.dumps({"contact": contact}).encode() + b"\n"


def load_contact(line: bytes) -> Contact | None:
    """The other way round; None where a line says something else."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    said = document.get("contact") if isinstance(document, dict) else None
    return next((c for c in CONTACTS if c == said), None)


def load_state(data: bytes) -> State:
    """The other way round. Raises AuthorityError."""
    try:
        state = State(**json.loads(data))
    except (ValueError, TypeError, RecursionError) as error:
        raise AuthorityError(f"cannot read the worker's state: {type(error).__name__}", kind="malformed") from error
    if not (isinstance(state.shared, dict) and isinstance(state.own, dict)):
        raise AuthorityError("cannot read the worker's state: a field has the wrong type", kind="malformed")
    return state


def dump_answer(answer: Answer, state: State) -> bytes:
    """What the worker prints."""
    name = next(name for name, kind in ANSWERS.items() if isinstance(answer, kind))
    return json.dumps({"answer": name, **asdict(answer), "state": asdict(state)}).encode()


LONGEST_REASON = 1000
DEEPEST = 16  # levels of a state: an ACME account has three
MOST_STATE = 1 << 18  # characters of a state as JSON
WORDS = frozenset({"reason", "explanation", "note", "kind"})
TEXTS = frozenset({"chain", "note", "pem", "reason", "kind", "explanation", "contact"})


def load_answer(data: bytes) -> tuple[Answer, State]:
    """What a worker printed, checked field by field, because it handled untrusted data. Raises AuthorityError."""
    try:
        document = json.loads(data)
        kind = ANSWERS[document.pop("answer")]
        state = State(**document.pop("state"))
        answer = kind(**document)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise AuthorityError(f"cannot read the worker's answer: {type(error).__name__}", kind="malformed") from error
    sound = all(isinstance(v, str) if k in TEXTS else _number(k, v) for k, v in asdict(answer).items())
    if not (sound and isinstance(state.shared, dict) and isinstance(state.own, dict)):
        raise AuthorityError("cannot read the worker's answer: a field has the wrong type", kind="malformed")
    if not shallow([state.shared, state.own], DEEPEST) or len(json.dumps(asdict(state))) > MOST_STATE:
        raise AuthorityError("cannot read the worker's answer: its state is too deep or too large", kind="malformed")
    said = {k: plain(v) for k, v in asdict(answer).items() if k in WORDS}
    return replace(answer, **said), state


def shallow(value: Any, levels: int) -> bool:
    """Whether a document has at most so many levels: a deeper one could be stored, and never be read again."""
    if not isinstance(value, dict | list):
        return True
    inner = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(shallow(row, levels - 1) for row in inner)


def plain(text: str) -> str:
    """The text for a log or terminal: printable, and bounded."""
    return "".join(c if c.isprintable() else " " for c in text)[:LONGEST_REASON]


def _number(name: str, value: Any) -> bool:
    """A moment that a datetime can hold; none where an error does not say when to come back."""
    return (value is None and name == "retry_at") or (isinstance(value, int | float) and 0 <= value < LAST_MOMENT)


def failure_of(error: AuthorityError) -> Failure:
    """An error as an answer."""
    at = error.retry_at.timestamp() if error.retry_at else None
    return Failure(error.kind, str(error), at, error.contact)


def error_of(failure: Failure) -> AuthorityError:
    """An answer as the error that it was."""
    at = None if failure.retry_at is None else datetime.fromtimestamp(failure.retry_at, UTC)
    kind: Kind = next((k for k in KINDS if k == failure.kind), "failed")
    contact: Contact = next((c for c in CONTACTS if c == failure.contact), "none")
    return AuthorityError(failure.reason, kind=kind, retry_at=at, contact=contact)
