"""What step-ca, Vault and CFSSL do not say by themselves in a test: a busy proxy in front, answers of another shape.

A small server of ours answers; the real servers are in the other modules.
"""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from certagent.authority.backends.pem import certificates, chain, der
from certagent.authority.errors import AuthorityError
from tests.authority.asker import Asker, facts, now
from tests.authority.asking import Client
from tests.making import Ca, make_ca
from tests.servers.stepca import fingerprint, intermediate, new_jwk
from tests.servers.tls import ServerPair, server_pair
from tests.servers.web import Handler as WebHandler
from tests.servers.web import Web


class Handler(BaseHTTPRequestHandler):
    """The same answer to everything."""

    status, headers_sent, body = 200, dict[str, str](), b""
    seen: ClassVar[list[str]] = []

    def answer(self) -> None:
        self.seen.append(self.path)
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_GET = do_POST = answer  # noqa: N815 - the names of http.server

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering(status: int, body: bytes, pair: ServerPair | None = None, **headers: str) -> Iterator[str]:
    """A server on loopback; its URL."""
    made = type("Answer", (Handler,), {"status": status, "body": body, "headers_sent": headers})
    with ThreadingHTTPServer(("127.0.0.1", 0), made) as server:
        if pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(pair.cert, pair.key)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http{'s' if pair else ''}://127.0.0.1:{server.server_port}"
        server.shutdown()


def asker(kind: str, url: str) -> Asker:
    options: dict[str, dict[str, Any]] = {
        "step": {"url": url, "provisioner": "jwk"},
        "vault": {"url": url, "role": "node"},
        "cfssl": {"url": url},
    }
    secrets = {"provisioner_key": json.dumps(new_jwk()), "token": "hvs.token", "auth_key": "00" * 16}
    return Asker(kind, options[kind], secrets)


KINDS = ("step", "vault", "cfssl")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("status", "headers", "expected", "pause"), [
    (429, {"Retry-After": "120"}, "rate-limited", 120),
    (503, {"Retry-After": "7"}, "rate-limited", 7),
    (429, {}, "rate-limited", None),
    (503, {}, "failed", None),
    (500, {}, "failed", None),
    (307, {"Location": "https://elsewhere.example.com/"}, "failed", None),
])  # fmt: skip
def test_ca_busy_statuses(kind: str, status: int, headers: dict[str, str], expected: str, pause: int | None) -> None:
    """Too many requests, with and without Retry-After; a failure; a redirect, which is not followed."""
    with answering(status, b"busy", **headers) as url:
        error = asker(kind, url).refusal()
    assert expected == error.kind
    at = None if error.retry_at is None else (error.retry_at - now()) / timedelta(seconds=1)
    assert (pause is None) == (at is None)
    assert at is None or pause is None or pause - 30 < at <= pause


@pytest.mark.parametrize("body", [b"busy", b"<html>", b'{"type": "about:blank", "detail": "busy"}', b"[" * 50_000])
@pytest.mark.parametrize(("status", "headers", "expected"), [
    (429, {"Retry-After": "120"}, "rate-limited"),
    (503, {"Retry-After": "7"}, "rate-limited"),
    (502, {}, "failed"),
    (403, {}, "credentials"),
    (404, {}, "refused"),
])  # fmt: skip
def test_acme_proxy_error_without_problem_document(
    body: bytes, status: int, headers: dict[str, str], expected: str
) -> None:
    """A proxy's or load balancer's answer is not a problem document: its status and Retry-After count."""
    with answering(status, body, **headers) as url, pytest.raises(AuthorityError) as caught:
        Client(f"{url}/dir", options={"terms_accepted": True}).ask("issue", ("a.test",))
    assert (expected, bool(headers)) == (caught.value.kind, caught.value.retry_at is not None)
    assert f"answered {status}" in str(caught.value)


def test_acme_renewal_info_404_is_no_window() -> None:
    """A 404 for the renewal information, without a problem document, is not a refusal; the next one may exist."""

    def answer(handler: WebHandler) -> None:
        url = f"http://127.0.0.1:{handler.server.server_port}/"
        names = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange", "renewalInfo")
        found = handler.path == "/dir"
        handler.reply(200 if found else 404, json.dumps(dict.fromkeys(names, url) if found else "no").encode())

    with Web(answer) as server, pytest.raises(AuthorityError, match="answered 404") as caught:
        Client(f"{server.url}/dir").ask("renewal", live=make_ca().pair()[0].decode())
    assert caught.value.kind == "failed"


SHAPES: list[Any] = [
    None,
    7,
    "text",
    [],
    {},
    {"data": [], "result": [], "success": True, "certChain": 7},
    {"data": {"certificate": 7}, "result": {"certificate": 7}, "success": True, "crt": 7},
    {"data": {"certificate": "no PEM"}, "result": {"certificate": "no PEM"}, "success": True, "certChain": ["no PEM"]},
    {"success": False, "errors": 7},
    {"success": False, "errors": [7, {}, {"message": {}}]},
    {"auth": {"client_token": 7}, "errors": {"a": 1}},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("shape", [*map(json.dumps, SHAPES), "{", "\x00", "[" * 50_000], ids=range(len(SHAPES) + 3))
def test_ca_malformed_answer_is_authority_error(kind: str, status: int, shape: str) -> None:
    """Any malformed answer is an AuthorityError, for the leaf as for the bundle."""
    with answering(status, shape.encode()) as url:
        mine = asker(kind, url)
        errors = [mine.refusal(), *([mine.refusal(mine.request("roots"))] if status == 200 else [])]
    assert {"malformed", "refused", "credentials", "failed"} >= {error.kind for error in errors}


@pytest.mark.parametrize("operation", ["issue", "renewal", "rollover", "deactivate"])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("shape", [*map(json.dumps, SHAPES), "{", "\x00", "[" * 50_000], ids=range(len(SHAPES) + 3))
def test_acme_malformed_directory_is_authority_error(operation: str, status: int, shape: str) -> None:
    """The same for ACME: never another error."""
    names = ("a.test",) if operation == "issue" else ()
    with answering(status, shape.encode()) as url, pytest.raises(AuthorityError) as caught:
        Client(f"{url}/dir", options={"terms_accepted": True}).ask(operation, names)
    assert caught.value.kind in {"malformed", "refused", "credentials", "failed"}


def test_pinned_root_mismatch_is_refused() -> None:
    """A CA that answers to the pinned fingerprint with another root."""
    with answering(200, json.dumps({"ca": make_ca().cert.decode()}).encode()) as url:
        mine = asker("step", url)
        mine.options = {**mine.options, "root": ["ab" * 32]}
        error = mine.refusal()
    assert (error.kind, "another fingerprint" in str(error)) == ("tls", True)


def test_impostor_relaying_pinned_root_gets_no_token(tmp_path: Path) -> None:
    """A server that relays the right root, which is public, but has no certificate of it, is sent no token."""
    root = make_ca().cert
    Handler.seen.clear()
    with answering(200, json.dumps({"ca": root.decode()}).encode(), server_pair(tmp_path)) as url:
        mine = asker("step", url)
        mine.options = {**mine.options, "root": [fingerprint(root)]}
        errors = [mine.refusal(), mine.refusal()]
    assert ["tls", "tls"] == [error.kind for error in errors]
    assert [f"/root/{fingerprint(root)}"] == Handler.seen


def test_chain_without_root_is_read() -> None:
    """The leaf first, each certificate once, self-issued ones left out; CRLF and text between them are accepted."""
    root = make_ca("root")
    issuing = Ca(*intermediate(root.cert, root.key), root.at)
    middle, leaf = issuing.cert.decode(), issuing.pair()[0].decode()
    text = chain([leaf, f"text\n{middle}".replace("\n", "\r\n"), middle, root.cert.decode()])
    assert ["CN=node,O=Cockroach", "CN=step-ca test intermediate"] == [c.subject for c in facts(text)]
    assert facts(chain([root.cert.decode(), root.cert.decode()]))[0].is_ca


@pytest.mark.parametrize("texts", [
    [],
    ["nothing"],
    [None],
    ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"],
    ["".join(f"-----BEGIN CERTIFICATE-----\n{i:04}\n-----END CERTIFICATE-----\n" for i in range(65))],
])  # fmt: skip
def test_chain_missing_or_malformed_is_error(texts: list[Any]) -> None:
    """No certificate, data that is not one, and too many of them."""
    with pytest.raises(AuthorityError, match="cannot use the answer") as caught:
        chain(texts)
    assert caught.value.kind == "malformed"


@pytest.mark.parametrize("kind", ["vault", "cfssl"])
def test_leaf_not_pem_is_not_replaced_by_issuer(kind: str) -> None:
    """The CA's own certificate does not take the place of a malformed leaf, and the error says why."""
    signed = {"certificate": "no PEM", "issuing_ca": make_ca().cert.decode()}
    with answering(200, json.dumps({"success": True, "result": signed, "data": signed}).encode()) as url:
        error = asker(kind, url).refusal()
    assert (error.kind, "the certificate is not PEM" in str(error)) == ("malformed", True)


def test_pem_unterminated_megabyte_is_fast() -> None:
    """PEM that begins and never ends is scanned in linear time."""
    for text in ("-----BEGIN CERTIFICATE-----" + " " * (1 << 20), "-----BEGIN CERTIFICATE-----\n" * 40_000):
        with pytest.raises(AuthorityError):
            certificates([text])
    with pytest.raises(AuthorityError, match="broken"):
        der("-----BEGIN X-----\nAAA\n-----END X-----")
