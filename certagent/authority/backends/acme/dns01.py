"""dns-01: TXT records by RFC 2136 updates with TSIG, or by a command of the configuration.

Each value is added and removed individually: a wildcard and its base name share one record set, and other values are
kept. A CNAME at `_acme-challenge.NAME` is followed on the configured server (delegated challenges).
"""

import os
from base64 import b64decode, urlsafe_b64encode
from contextlib import suppress
from hashlib import sha256
from types import TracebackType
from typing import Self

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update

from certagent.authority.backends.acme.options import Options, address
from certagent.authority.backends.acme.polling import Patience
from certagent.authority.backends.program import run
from certagent.authority.errors import AuthorityError, Kind
from certagent.authority.redaction import shown
from certagent.core.words import framed

LABEL = "_acme-challenge"
ALIASES = 8
PATIENCE = 10.0
PAUSE = 0.2
KINDS: dict[int, Kind] = {dns.rcode.REFUSED: "refused", dns.rcode.NOTAUTH: "credentials"}
HOOK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def digest(authorization: str) -> str:
    """The TXT value (RFC 8555, section 8.4)."""
    return urlsafe_b64encode(sha256(authorization.encode()).digest()).decode().rstrip("=")


class Update:
    """Adds the records by updates, removes them at the end of the `with` block."""

    def __init__(self, options: Options, secret: str) -> None:
        """`secret` is the TSIG key, base64. Raises AuthorityError if it is invalid."""
        self._options = options
        self._server = address(options.dns_server)
        self._made: list[tuple[dns.name.Name, dns.name.Name, str]] = []
        self._key: dict[str, object] = {}
        if options.dns_key_name:
            try:
                key = b64decode(secret.strip(), validate=True)
                ring = {
                    dns.name.from_text(options.dns_key_name): dns.tsig.Key(
                        options.dns_key_name, key, options.dns_algorithm
                    )
                }
            except ValueError as error:
                raise AuthorityError("cannot use dns_key: it is not base64", kind="credentials") from error
            self._key = {"keyring": ring}

    def __enter__(self) -> Self:
        """Nothing is sent yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was added."""
        for zone, name, value in self._made:
            with suppress(AuthorityError):
                self._send(zone, name, value, add=False)

    def present(self, name: str, token: str, authorization: str) -> None:
        """Add one record. Raises AuthorityError."""
        del token
        owner = self._followed(dns.name.from_text(f"{LABEL}.{name}"))
        zone, value = self._zone(owner), digest(authorization)
        self._made.append((zone, owner, value))
        self._send(zone, owner, value, add=True)

    def ready(self, patience: Patience) -> None:
        """Wait until the server answers with every record, then `dns_wait` for its secondaries."""
        for _, name, value in self._made:
            while value not in self._values(name) and patience.wait(PAUSE):
                pass
        patience.rest(self._options.dns_wait)

    def _ask(self, message: dns.message.Message) -> dns.message.Message:
        host, port = self._server
        try:
            return dns.query.tcp(message, host, PATIENCE, port)
        except dns.tsig.PeerError as error:
            raise AuthorityError(
                f"cannot update DNS at {host}: it rejects the TSIG key: {type(error).__name__}", kind="credentials"
            ) from error
        except (dns.exception.DNSException, OSError, EOFError, ValueError) as error:
            what = str(error) or type(error).__name__
            raise AuthorityError(
                f"cannot query the DNS server {host} port {port}: {what}", kind="unreachable"
            ) from error

    def _query(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        return self._ask(dns.message.make_query(name, kind))

    def _followed(self, name: dns.name.Name) -> dns.name.Name:
        for _ in range(ALIASES):
            target = alias(self._query(name, dns.rdatatype.CNAME), name)
            if target is None:
                return name
            name = target
        raise AuthorityError(f"cannot use {name}: more than {ALIASES} CNAMEs in a row", kind="refused")

    def _zone(self, name: dns.name.Name) -> dns.name.Name:
        """The configured zone, else the one that the server says it is authoritative for."""
        if self._options.dns_zone:
            return dns.name.from_text(self._options.dns_zone)
        return zone_of(self._query(name, dns.rdatatype.SOA), name, self._server[0])

    def _values(self, name: dns.name.Name) -> set[str]:
        return texts(self._query(name, dns.rdatatype.TXT))

    def _send(self, zone: dns.name.Name, name: dns.name.Name, value: str, *, add: bool) -> None:
        update = dns.update.UpdateMessage(zone, **self._key)  # type: ignore[arg-type]
        if add:
            update.add(name, self._options.dns_ttl, "TXT", value)
        else:
            update.delete(name, "TXT", value)
        if problem := refusal(self._ask(update), f"update {name} in {zone} at {self._server[0]}"):
            raise problem


def alias(answer: dns.message.Message, name: dns.name.Name) -> dns.name.Name | None:
    """Given the answer to a CNAME query, return its target; None if there is no CNAME."""
    found = [r for s in answer.answer if s.name == name and s.rdtype == dns.rdatatype.CNAME for r in s]
    return found[0].target if found else None


def zone_of(answer: dns.message.Message, name: dns.name.Name, host: str) -> dns.name.Name:
    """Given the answer to a question for a SOA, return the zone of a name. Raises AuthorityError."""
    for section in (answer.answer, answer.authority):
        for records in section:
            if records.rdtype == dns.rdatatype.SOA and name.is_subdomain(records.name):
                return records.name
    raise AuthorityError(f"cannot find the zone of {name} at {host}: set dns_zone", kind="refused")


def texts(answer: dns.message.Message) -> set[str]:
    """The values of the TXT records in an answer."""
    records = (r for s in answer.answer if s.rdtype == dns.rdatatype.TXT for r in s)
    return {b"".join(r.strings).decode("ascii", "replace") for r in records}


def refusal(answer: dns.message.Message, what: str) -> AuthorityError | None:
    """Given the answer to an update, return the error that it means; None where it was made."""
    code = answer.rcode()
    if code == dns.rcode.NOERROR:
        return None
    kind = KINDS.get(code, "failed")
    remedy = "check the zone's update policy and the TSIG key"
    return AuthorityError(f"cannot {what}: {dns.rcode.to_text(code)}; {remedy}", kind=kind)


class Hook:
    """`COMMAND present NAME VALUE` adds a TXT record, `COMMAND cleanup NAME VALUE` removes it; exit 0 is success."""

    def __init__(self, options: Options) -> None:
        """Runs nothing yet."""
        self._options = options
        self._made: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clean up, whatever happened."""
        for name, value in self._made:
            with suppress(AuthorityError):
                self._run("cleanup", name, value)

    def present(self, name: str, token: str, authorization: str) -> None:
        """Run the command. Raises AuthorityError."""
        del token
        owner, value = f"{LABEL}.{name}", digest(authorization)
        self._made.append((owner, value))
        self._run("present", owner, value)

    def ready(self, patience: Patience) -> None:
        """The command returned when the record was there; `dns_wait` for its secondaries."""
        patience.rest(self._options.dns_wait)

    def _run(self, verb: str, name: str, value: str) -> None:
        words = [*self._options.dns_hook, verb, name, value]
        done = run(
            words, b"", {"PATH": HOOK_PATH}, os.getcwd(), self._options.patience, setting="dns_hook", verbose=True
        )
        if done.code:
            said = framed(shown(done.err.decode("utf-8", "replace"), 1 << 16)[-300:])
            raise AuthorityError(f"cannot set {name}: {words[0]} {verb} exited {done.code}: {said}")
