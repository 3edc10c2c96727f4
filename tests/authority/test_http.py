"""HTTPS to a CA: roots, pins, client certificates, proxies, plain http, redirects, caps, deadlines; real servers."""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import BadStatusLine
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from certagent import x509
from certagent.authority.backends.acme.net import Net
from certagent.authority.backends.failures import broken
from certagent.authority.backends.http import Http, Reply, by_name, direct, message, permitted, retry_after
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Request, Tls
from certagent.core.words import withheld
from tests.authority.calling import context
from tests.moments import now
from tests.servers.process import closed_port
from tests.servers.tls import ServerPair, server_pair
from tests.servers.web import Handler, Web, tunnel

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def hello(handler: Handler) -> None:
    handler.reply(200, b'{"hello": true}')


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ServerPair:
    return server_pair(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> ServerPair:
    return server_pair(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def server(pair: ServerPair) -> Iterator[Web]:
    with Web(hello, pair.cert, pair.key) as running:
        yield running


def mark(path: Path) -> str:
    return x509.parse_certificates(path.read_bytes())[0].fingerprint


def get(url: str, tls: Tls, timeout: float = 20.0) -> Reply:
    return Http(tls, timeout).request("GET", f"{url}/x")


def problem(url: str, tls: Tls, timeout: float = 20.0) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        get(url, tls, timeout)
    assert str(caught.value).startswith("cannot ")
    return caught.value


def test_tls_trust_roots_and_pins(server: Web, pair: ServerPair, other: ServerPair) -> None:
    """Configured roots, a pinned fingerprint alone, both; a wrong one of either is refused, and so is neither."""
    roots, wrong = pair.ca.read_text(), other.ca.read_text()
    good, bad = mark(pair.cert), mark(other.cert)
    for tls in (
        Tls(roots),
        Tls(fingerprints=(good,)),
        Tls(fingerprints=(bad, good)),
        Tls(roots, (good,)),
        Tls(pair.cert.read_text()),
    ):
        assert get(server.url, tls).json() == {"hello": True}
    for tls in (Tls(), Tls(wrong), Tls(fingerprints=(bad,)), Tls(roots, (bad, bad)), Tls(wrong, (good,))):
        assert problem(server.url, tls).kind == "tls"


def test_http_port_of_the_other_scheme_is_said() -> None:
    """An https URL of a port that speaks plain http: the URL is to be corrected, no root is missing."""
    with Web(hello) as plain:
        for tls in (Tls(), Tls(fingerprints=("00" * 32,)), Tls(fingerprints=("00" * 32, "11" * 32))):
            found = problem(plain.url.replace("http:", "https:"), tls)
            told = "the port does not speak TLS (it may speak plain http); correct the port or the scheme of the URL"
            assert (found.kind, str(found).endswith(f"/x: {told}")) == ("tls", True), str(found)


def test_https_port_asked_by_plain_http_is_said() -> None:
    """A TLS server may answer with an alert; what another port answers is no TLS."""
    alert = ProtocolError("cut", BadStatusLine("\x15\x03\x01\x00\x02\x02F"))
    assert str(broken("URL", alert)) == "cannot reach URL: the port speaks TLS, not plain http; write https in the URL"
    other = ProtocolError("cut", BadStatusLine("220 mail"))
    assert "speaks TLS" not in str(broken("URL", other))


@pytest.mark.parametrize(("kind", "end"), [("est", "/.well-known/est"), ("cfssl", "/api/v1/cfssl"), ("vault", "/v1")])
def test_url_that_ends_with_the_path_of_the_protocol_is_not_doubled(kind: str, end: str) -> None:
    """With or without it: the same request."""
    asked: list[str] = []

    def noting(handler: Handler) -> None:
        asked.append(handler.path)
        handler.reply(404)

    options = {"label": "", "profile": "", "username": "", "mount": "pki", "namespace": "", "issuer": "", "role": "r"}
    with Web(noting) as web:
        for url in (web.url, web.url + end):
            question = Request("roots", kind, {**options, "url": url})
            with pytest.raises(AuthorityError):
                import_module(f"certagent.authority.backends.{kind}").ask(question, context())
    assert (asked[0].startswith(f"{end}/"), asked) == (True, asked[:1] * 2)


def test_endpoint_that_closes_in_the_handshake_is_said() -> None:
    """No root is missing there."""
    cut = ssl.SSLEOFError(8, "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol")
    cut.reason = "UNEXPECTED_EOF_WHILE_READING"
    told = "cannot reach URL: the connection was closed in the TLS handshake: the CA's log may say why, or "
    assert str(broken("URL", SSLError(cut))) == f"{told}correct the port"


def test_endpoint_that_the_system_roots_do_not_verify_says_what_was_trusted(server: Web, other: ServerPair) -> None:
    """By default the system's roots; with a root or a fingerprint those settings are named."""
    assert "the system's roots were trusted: set tls_roots or tls_fingerprint" in str(problem(server.url, Tls()))
    for tls in (Tls(other.ca.read_text()), Tls(fingerprints=("00" * 32,))):
        assert str(problem(server.url, tls)).endswith("; see tls_roots and tls_fingerprint")


ALWAYS = {"Accept-Encoding": "identity", "Connection": "close"}


@pytest.mark.parametrize(("body", "document", "headers", "sent"), [
    (None, None, {}, (None, {"User-Agent": "certagent"})),
    (b"x", None, {"Content-Type": "a/b"}, (b"x", {"User-Agent": "certagent", "Content-Type": "a/b"})),
    (None, {"a": 1}, {}, (b'{"a": 1}', {"User-Agent": "certagent", "Content-Type": "application/json"})),
    (None, [], {"Content-Type": "a/b"}, (b"[]", {"User-Agent": "certagent", "Content-Type": "a/b"})),
    (None, None, {"User-Agent": "x", "Connection": "keep-alive"}, (None, {"User-Agent": "x"})),
])  # fmt: skip
def test_http_request_headers_and_body(
    body: bytes | None, document: object, headers: dict[str, str], sent: Any
) -> None:
    """A document as JSON; headers as given, no compression and no connection kept alive."""
    assert (sent[0], sent[1] | ALWAYS) == message(body, document, headers)


POOL: Any = None  # of connections: no word of it is in a message
NOBODY = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def refused() -> OSError:
    return ConnectionRefusedError(111, "Connection refused")


def caused(error: Exception, by: OSError) -> Exception:
    """As the library raises it."""
    error.__cause__ = by
    return error


@pytest.mark.parametrize(("error", "kind", "words"), [
    (SSLError("certificate has expired"), "tls", "cannot trust URL: certificate has expired; see tls_roots"),
    (ProtocolError("cut", OSError("reset")), "unreachable", "cannot reach URL: reset"),
    (OSError("no route"), "unreachable", "cannot reach URL: no route"),
    (caused(NewConnectionError(POOL, "Failed"), refused()), "unreachable", "cannot reach URL: Connection refused"),
    (caused(NameResolutionError("ca", POOL, NOBODY), NOBODY), "unreachable", "cannot reach URL: its name cannot be"),
    (NameResolutionError("ca", POOL, NOBODY), "unreachable", "cannot reach URL: its name cannot be res"),
    (ConnectTimeoutError(POOL, "timed out"), "unreachable", "cannot reach URL: no connection in time"),
    (ReadTimeoutError(POOL, "URL", "timed out"), "unreachable", "cannot reach URL: no answer in time"),
    (MaxRetryError(POOL, "URL", ReadTimeoutError(POOL, "URL", "x")), "unreachable", "cannot reach URL: "),
])  # fmt: skip
def test_http_failure_reports_innermost_reason(error: Exception, kind: str, words: str) -> None:
    """The endpoint is untrusted or absent; the innermost reason is reported."""
    found = broken("URL", error)
    assert (kind, True) == (found.kind, str(found).startswith(words)), str(found)


@pytest.mark.parametrize("url", ["http://ca.example.com/hvs.abc", "https://127.0.0.1:1/hvs.abc", "gopher:hvs.abc"])
def test_http_url_that_a_ca_names_is_its_own_text(url: str) -> None:
    """A URL of an ACME directory or order is withheld from readers who are not trusted; a configured one is shown."""
    net = Net(Http(Tls(), 20.0), None, lambda: datetime.now(UTC))
    with pytest.raises(AuthorityError) as caught:
        net.get(url)
    assert (f"«{url}»" in str(caught.value), "hvs" in withheld(str(caught.value))) == (True, False)
    net.configured = url
    with pytest.raises(AuthorityError) as caught:
        net.get(url)
    assert url in withheld(str(caught.value))


def test_http_redirect_is_named_not_followed() -> None:
    """Not followed, and named; every other status is a reply."""
    for status in (300, 307, 399):
        with pytest.raises(AuthorityError, match="it redirects to «elsewhere»") as caught:
            direct(Reply("URL", status, {"location": "elsewhere"}, b""))
        assert "failed" == caught.value.kind
    for status in (200, 299, 400, 503):
        assert status == direct(Reply("URL", status, {"location": "elsewhere"}, b"")).status


@pytest.mark.parametrize(("tls", "expected"), [
    (Tls(), True),
    (Tls(roots="PEM"), True),
    (Tls(roots="PEM", fingerprints=("ab",)), True),
    (Tls(fingerprints=("ab",)), False),
    (Tls(unverified=True), False),
    (Tls(roots="PEM", unverified=True), False),
])  # fmt: skip
def test_tls_host_name_is_checked_unless_pinned_alone(tls: Tls, *, expected: bool) -> None:
    """Checked unless only a fingerprint is configured, or a pinned digest verifies what is fetched."""
    assert expected == by_name(tls)


def test_roots_file_with_text_between_certificates(server: Web, pair: ServerPair) -> None:
    """A bundle may have text around its certificates, in any language; one without any is not "the system's"."""
    assert get(server.url, Tls(f"Wurzel für Prüfungen\n{pair.ca.read_text()}")).status == 200
    found = problem(server.url, Tls("nothing to trust"))
    assert (found.kind, "contains no PEM certificate" in str(found)) == ("credentials", True)


def test_system_roots_used_without_settings(server: Web, pair: ServerPair) -> None:
    """Without settings the system's roots count: here they are those that OpenSSL's environment names."""
    code = "import sys; from tests.authority.test_http import *; print(get(sys.argv[1], Tls()).status)"
    environ = {**os.environ, "SSL_CERT_FILE": str(pair.ca)}
    done = subprocess.run([sys.executable, "-c", code, server.url], env=environ, capture_output=True, check=True)
    assert done.stdout.split() == [b"200"]


def dated(directory: Path, name: str, start: timedelta, end: timedelta) -> ServerPair:
    """A server certificate with a life of its own."""
    made = server_pair(directory)
    ca, ca_key = x509.make_ca("dated", timedelta(days=30), now() - timedelta(days=10))
    csr = x509.make_csr(made.key.read_bytes(), name, (name,))
    span = {"not_before": now() + start, "not_after": now() + end}
    made.cert.write_bytes(x509.sign_csr(csr, ca, ca_key, server=True, client=False, **span))
    made.ca.write_bytes(ca)
    return made


@pytest.mark.parametrize(
    ("name", "start", "end", "said"),
    [
        ("127.0.0.1", -9, -1, "expired"),
        ("127.0.0.1", 1, 9, "not yet valid"),
        ("elsewhere.example.com", -1, 9, "mismatch"),
    ],
)
def test_tls_server_certificate_expired_or_wrong_host(
    tmp_path: Path, name: str, start: int, end: int, said: str
) -> None:
    """Expired, not yet valid, another host's: refused by the roots; a pin alone accepts exactly that certificate."""
    made = dated(tmp_path, name, timedelta(days=start), timedelta(days=end))
    with Web(hello, made.cert, made.key) as running:
        found = problem(running.url, Tls(made.ca.read_text()))
        assert (found.kind, said in str(found)) == ("tls", True), str(found)
        assert get(running.url, Tls(fingerprints=(mark(made.cert),))).status == 200


def test_tls_client_certificate_is_presented(pair: ServerPair, other: ServerPair) -> None:
    """The bootstrap credential is presented; without it, or with another CA's, the server refuses."""
    with Web(hello, pair.cert, pair.key, clients=pair.ca) as running:
        tls = Tls(pair.ca.read_text())
        shown = replace(tls, client_cert=pair.cert.read_text(), client_key=pair.key.read_text())
        assert get(running.url, shown).status == 200
        stranger = replace(tls, client_cert=other.cert.read_text(), client_key=other.key.read_text())
        assert {problem(running.url, t).kind for t in (tls, stranger)} <= {"tls", "unreachable"}
        torn = replace(shown, client_key=other.key.read_text())
        assert problem(running.url, torn).kind == "credentials"


def test_proxy_connect_end_to_end_tls(server: Web, pair: ServerPair, other: ServerPair) -> None:
    """CONNECT, then TLS with the CA itself: the proxy can neither read nor impersonate; it may be unreachable."""
    asked: list[str] = []
    with Web(tunnel(asked)) as proxy:
        assert get(server.url, Tls(pair.ca.read_text(), proxy=proxy.url)).status == 200
        assert asked == [f"CONNECT 127.0.0.1:{server.port}"]
        assert problem(server.url, Tls(other.ca.read_text(), proxy=proxy.url)).kind == "tls"
        gone = proxy.url
    assert problem(server.url, Tls(pair.ca.read_text(), proxy=gone)).kind == "unreachable"


def test_http_plain_only_on_loopback_or_allowed() -> None:
    """http goes to loopback, or where it is explicitly allowed; other schemes nowhere."""
    with Web(hello) as running:
        assert get(running.url, Tls()).status == 200
    for url in ("http://ca.example.com/x", "http://10.0.0.5/x", "http://127.0.0.1.example.com/x", "ftp://localhost/x"):
        with pytest.raises(AuthorityError, match="cannot ask") as caught:
            permitted(url, allow_http=False)
        assert caught.value.kind == "tls"
    permitted("http://ca.example.com/x", allow_http=True)
    with pytest.raises(AuthorityError):
        permitted("file:///etc/shadow", allow_http=True)


@pytest.mark.parametrize("place", ["http://127.0.0.1:1/x", "https://elsewhere.example.com/", "file:///etc/shadow", ""])
def test_http_redirect_elsewhere_is_error(place: str) -> None:
    """To another scheme or host, or malformed: an error that names the target."""
    with Web(lambda h: h.reply(302, Location=place)) as running:
        found = problem(running.url, Tls())
    assert (found.kind, "not followed" in str(found)) == ("failed", True)


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def chunked(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while True:
        handler.wfile.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")


@pytest.mark.parametrize("answer", [endless, chunked])
def test_http_endless_body_is_cut_off(answer: object) -> None:
    """A body over the limit is cut off, with any transfer coding."""
    with Web(answer) as running:  # type: ignore[arg-type]
        found = problem(running.url, Tls())
    assert (found.kind, "over 1048576 bytes" in str(found)) == ("malformed", True)


def hinting(handler: Handler, times: int = 1) -> None:
    """Interim responses, and then the answer."""
    for _ in range(times):
        handler.send_response_only(103)
        handler.send_header("Link", "</style.css>; rel=preload")
        handler.end_headers()
        handler.send_response_only(102)
        handler.end_headers()
    hello(handler)


def test_http_interim_responses_are_skipped(pair: ServerPair) -> None:
    """103 Early Hints or 102 ahead of the 200, as a proxy before a CA sends them: the 200 is the answer."""
    for made, tls in ((Web(hinting), Tls()), (Web(hinting, pair.cert, pair.key), Tls(pair.ca.read_text()))):
        with made as running:
            assert (get(running.url, tls).status, get(running.url, tls).json()) == (200, {"hello": True})


def test_http_endless_interim_responses_are_error() -> None:
    """Their number is limited: the CA is reported as broken before the deadline."""
    with Web(lambda handler: hinting(handler, 100)) as running:
        assert "interim responses" in str(problem(running.url, Tls()))


def dripping(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.over.wait(0.05):
        handler.wfile.write(b"x")


@pytest.mark.slow
def test_http_slow_response_ends_at_deadline() -> None:
    """A server that sends a byte now and then keeps no request alive beyond its deadline."""
    with Web(dripping) as running:
        begin = time.monotonic()
        assert problem(running.url, Tls(), timeout=0.5).kind == "unreachable"
        assert time.monotonic() - begin < 60  # it drips until the test ends


def test_http_connection_is_not_reused() -> None:
    """Each request has its own connection, so that a server that closes an idle one breaks no request."""
    ports: list[int] = []

    def patient(handler: Handler) -> None:
        handler.close_connection = handler.headers["Connection"] == "close"
        ports.append(handler.client_address[1])
        handler.reply(200, b"{}")

    with Web(patient) as running:
        client = Http(Tls(), 20)
        for _ in range(3):
            client.request("POST", running.url, document={})
    assert len(set(ports)) == len(ports) == 3


def test_http_unreachable_names_cause() -> None:
    """A closed port, a name that does not exist: unreachable, with the cause."""
    assert problem(f"http://127.0.0.1:{closed_port()}", Tls()).kind == "unreachable"
    assert problem("https://does-not-exist.invalid", Tls()).kind == "unreachable"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("99999999999999999999", 7 * 86400),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 7 * 86400),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("000000000000000120", 120),
        ("9" * 5000, 7 * 86400),
        ("\xb2", None),
        ("\u0663", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999", None),
    ],
)
def test_http_retry_after_seconds_or_date(value: str, seconds: int | None) -> None:
    """Seconds or a date, a week at most, never in the past; a malformed value is ignored."""
    found = retry_after(Reply("", 503, {"retry-after": value}, b""), NOW)
    assert found == (None if seconds is None else NOW + timedelta(seconds=seconds))
