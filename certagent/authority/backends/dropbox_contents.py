"""What the contents of outbox and inbox mean: the certificates, which of them answer, what to tell a person.

No file is touched here: dropbox.py reads and writes what is decided here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from certagent import x509
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Request, Roots

TOTAL = 16 << 20  # bytes of all files of an inbox
NAMED, REMEMBERED = 3, 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """One certificate in the inbox."""

    file: str
    fingerprint: str
    spki: str
    pem: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """Every certificate in the inbox, and what was ignored there, with the reason."""

    found: tuple[Found, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """What to do about one request."""

    name: str  # of its file in the outbox
    known: bool  # it was left there before
    withdrawn: tuple[str, ...] = ()  # requests in the outbox that are no longer needed
    chain: str = ""  # the answer, leaf first; "" if there is none yet
    taken: tuple[str, ...] = ()  # files of the inbox that the answer was in
    answered: tuple[str, ...] = ()  # fingerprints that are no answer again


def contents_of(files: Iterable[tuple[str, bytes | str]], more: int) -> Contents:
    """Given each file's bytes, or why it cannot be read, and how many more there are, return the certificates.

    No file is asked for after one that is too much.
    """
    found: list[Found] = []
    ignored: list[str] = []
    taken = 0
    for name, data in files:
        taken += len(data) if isinstance(data, bytes) else 0
        if taken > TOTAL:
            ignored.append("the rest (too many or too large files)")
            break
        try:
            found += _certificates(name, data)
        except (ValueError, x509.X509Error) as error:
            ignored.append(f"{_printable(name)} ({error})")
    if more > 0:
        ignored.append(f"{more} more files")
    return Contents(found=tuple(found), ignored=tuple(ignored))


def _certificates(name: str, data: bytes | str) -> list[Found]:
    from certagent.x509.bags import any_certificates

    if isinstance(data, str):
        raise ValueError(data)
    split = x509.split_certificates(any_certificates(data))
    return [Found(file=name, fingerprint=leaf.fingerprint, spki=leaf.spki, pem=pem) for leaf, pem in split]


def exchange(request: Request, own: Mapping[str, Any], found: tuple[Found, ...], host: str) -> Exchange:
    """Given a request, what is remembered of it, the inbox and this host's name, return what to do."""
    spki = x509.parse_request(request.csr.encode()).spki
    name = f"{_printable(host)}.{request.stem}.{spki[:12]}.csr"
    before, answered = own.get("file"), own.get("answered", [])
    withdrawn = () if before in {None, name} else (str(before),)
    seen = [*answered, *_live(request)]
    ours = [f for f in found if f.spki == spki and f.fingerprint not in seen]
    if not ours:
        return Exchange(name=name, known=before == name, withdrawn=withdrawn)
    others = b"".join(f.pem for f in found if f.spki != spki)
    return Exchange(
        name=name,
        known=before == name,
        withdrawn=withdrawn,
        chain=x509.arranged(b"".join(f.pem for f in ours) + others, spki).decode(),
        taken=tuple(dict.fromkeys(f.file for f in ours)),
        answered=tuple([*answered, *(f.fingerprint for f in ours)][-REMEMBERED:]),
    )


def _live(request: Request) -> list[str]:
    """The live certificate is not an answer, even if its key is reused."""
    try:
        return [x509.parse_certificates(request.live.encode())[0].fingerprint] if request.live else []
    except x509.X509Error:
        return []


def waiting(request: Request, name: str, since: datetime, ignored: tuple[str, ...]) -> str:
    """Given a request in the outbox, return the text that says what it waits for."""
    outbox, inbox = request.options["outbox"], request.options["inbox"]
    asked = f"{outbox}/{name} (of {since:%Y-%m-%dT%H:%M:%SZ})"
    reason = f"waiting for a person to put the certificate for {asked} into {inbox}"
    if not ignored:
        return reason
    more = f" and {len(ignored) - NAMED} more" if len(ignored) > NAMED else ""
    return f"{reason}; ignored there: {', '.join(ignored[:NAMED])}{more}"


def letter(request: Request, host: str, user: str, at: datetime) -> str:
    """What a person needs to know, above the PEM: openssl skips it."""
    asked = x509.parse_request(request.csr.encode())
    usages = " and ".join(["a TLS server"] * request.server + ["a TLS client"] * request.client) or "not used for TLS"
    eku = ", ".join(["serverAuth"] * request.server + ["clientAuth"] * request.client) or "none"
    lifetime = "the CA's default" if request.lifetime is None else str(timedelta(seconds=request.lifetime))
    rows = {
        "for": f"{request.stem} on {host}: {usages}",
        "asked by": f"certagent as user {user}, at {at:%Y-%m-%dT%H:%M:%SZ}",
        "subject": asked.subject_text or "(empty)",
        "DNS names": ", ".join(asked.dns) or "none",
        "IP addresses": ", ".join(asked.ips) or "none",
        **({"URIs": ", ".join(asked.uris)} if asked.uris else {}),
        "extended key usage": eku,
        "lifetime": lifetime,
        "key": f"{asked.key}, SHA-256 of its public half {asked.spki}",
        "replaces": _replaced(request),
        "return": f"the certificate and its intermediates to {request.options['inbox']}, under any name",
    }
    width = max(map(len, rows))
    return "".join(f"{key:<{width}}  {value}\n" for key, value in rows.items()) + "\n"


def _replaced(request: Request) -> str:
    try:
        live = x509.parse_certificates(request.live.encode())[0]
    except x509.X509Error:
        return "nothing; this is the first certificate"
    return f"serial {live.serial:x}, valid until {live.not_after:%Y-%m-%dT%H:%M:%SZ}"


def roots(request: Request, found: tuple[Found, ...]) -> Roots:
    """Self-signed certificates of the inbox, as candidates. Raises AuthorityError if there are none."""
    shown = x509.roots_of(b"".join(f.pem for f in found)) if found else b""
    if not shown:
        raise AuthorityError(f"cannot find the CA's root in {request.options['inbox']}: copy it there", kind="refused")
    return Roots(shown.decode())


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name)[:60]
