"""The operations as functions of keys: what each gives, and what it raises."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from certagent import x509
from certagent.core.facts import File, KeyFile
from certagent.keys.asking import KEEPER, STRANGERS
from certagent.keys.key import Key
from certagent.keys.operations import bytes_of, text_of
from certagent.posix.errors import HostError


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whom a certificate request is for, and a challengePassword (RFC 2985) in it, "" for none."""

    common_name: str | None
    names: tuple[str, ...]
    unit: str = ""
    challenge: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a CA puts into a leaf besides what is requested; `urls`: of an OCSP responder and a list, "" for none."""

    server: bool
    client: bool
    not_before: datetime
    not_after: datetime
    urls: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A key as far as it may be known: digests of the file and of its public half, and its name; or what is wrong."""

    digest: str
    spki: str | None
    kind: str
    problem: str


def examined(key: Key) -> Examined:
    """Digests of a key. Raises HostError where no child gives an answer."""
    return Examined(**KEEPER.ask("examine", {}, [key.fileno()]))


def key_file(file: File, key: Key) -> KeyFile:
    """Given a key file and what it has, return its fact: the digest of its public half, never a byte of it."""
    try:
        found = examined(key)
    except HostError as error:
        return KeyFile(file, "", None, "", str(error), "unreadable")
    if found.problem:
        return KeyFile(file, found.digest, None, "", found.problem, "unparsable")
    return KeyFile(file, found.digest, found.spki, found.kind)


def matched(cert: bytes | None, key: Key | None) -> bool:
    """Whether a key belongs to the first certificate of a file; what is missing or cannot be parsed matches nothing.

    Raises HostError where no child gives an answer.
    """
    if cert is None or key is None:
        return False
    try:
        return x509.parse_certificates(cert)[0].spki == examined(key).spki
    except x509.X509Error:
        return False


def drafted(kind: str, subject: Subject) -> tuple[bytes, Key]:
    """A request by a new key of that kind, and the key. Raises X509Error, ValueError, HostError."""
    key = Key()
    csr = KEEPER.ask("draft", {"key": kind, **asdict(subject)}, [key.fileno()])
    return bytes_of(csr) or b"", key


def requested(key: Key, subject: Subject) -> bytes:
    """A request by a key that is there. Raises X509Error, ValueError, HostError."""
    return bytes_of(KEEPER.ask("request", asdict(subject), [key.fileno()])) or b""


def handshake(certs: bytes, key: Key, *, server_roots: bytes | None, client_roots: bytes | None) -> str | None:
    """As x509.handshake. Raises HostError."""
    roots = {"server_roots": text_of(server_roots), "client_roots": text_of(client_roots)}
    problem: str | None = KEEPER.ask("handshake", {"certs": text_of(certs), **roots}, [key.fileno()])
    return problem


def led_to(served: Sequence[bytes], bundle: bytes, at: datetime) -> tuple[str, ...]:
    """As x509.led_to. The child that reads what a stranger served never has a key. Raises X509Error, HostError."""
    given = {"served": [text_of(der) for der in served], "bundle": text_of(bundle), "at": at.isoformat()}
    return tuple(KEEPER.ask(STRANGERS, given, []))


def pair_file(certs: bytes, key: Key) -> Key:
    """A pair in one file in memory, as TLS libraries read it. X509Error where Go cannot read the key; HostError."""
    pair = Key()
    KEEPER.ask("pair", {"certs": text_of(certs)}, [key.fileno(), pair.fileno()])
    return pair


def create_ca(common_name: str, lifetime: timedelta, now: datetime, kind: str) -> tuple[bytes, Key]:
    """A new self-signed CA: its certificate as PEM, and its key. Raises HostError."""
    key = Key()
    given = {"common_name": common_name, "lifetime": lifetime.total_seconds(), "now": now.isoformat(), "key": kind}
    return bytes_of(KEEPER.ask("ca", given, [key.fileno()])) or b"", key


def sign_csr(csr: bytes, ca_cert: bytes, ca_key: Key, terms: Terms) -> bytes:
    """A leaf as PEM, as x509.sign_csr makes it. Raises X509Error, ValueError, HostError."""
    given = {
        "csr": text_of(csr),
        "ca_cert": text_of(ca_cert),
        "server": terms.server,
        "client": terms.client,
        "not_before": terms.not_before.isoformat(),
        "not_after": terms.not_after.isoformat(),
        "urls": list(terms.urls),
    }
    return bytes_of(KEEPER.ask("sign", given, [ca_key.fileno()])) or b""


def proof(key: Key, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token signed with a key, as x509.sign_jws makes it. Raises X509Error, ValueError, HostError."""
    return str(KEEPER.ask("proof", {"header": header, "claims": claims}, [key.fileno()]))
