"""What an answer of a CA means, and how it is asked: values in, values out, no server. One row a rule."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends import cfssl, est, step, vault
from certagent.authority.backends.http import Reply
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Request
from tests.authority.asker import Asker
from tests.making import make_ca
from tests.servers.stepca import fingerprint, new_jwk

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
URL = "https://ca.example.com/here"
PAUSE = {"retry-after": "60"}


def reply(status: int, document: Any = None, headers: dict[str, str] | None = None) -> Reply:
    """An answer; a document that is bytes is the body itself."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(URL, status, headers or {}, body)


def problem(read: Any, *given: Any) -> tuple[str, str, datetime | None]:
    """The error that a reading ends with: kind, words, when to come back."""
    with pytest.raises(AuthorityError) as caught:
        read(*given)
    assert str(caught.value).startswith("cannot ")
    return caught.value.kind, str(caught.value), caught.value.retry_at


# CFSSL


CFSSL_PROBLEMS = [
    (400, {"errors": [{"code": 9, "message": "invalid token"}]}, "credentials", "see auth_key"),
    (400, {"errors": [{"code": 1, "message": "no such profile"}]}, "refused", "«no such profile (1)»; see profile"),
    (200, {"success": False}, "refused", "no success; see profile and label"),
    (200, {"success": "yes", "result": {}}, "refused", "no success"),
    (400, b"<html>", "refused", "answered 400: «<html>»"),
    (500, {"errors": [{"code": 1, "message": "broken"}]}, "failed", "answered 500: «broken (1)»"),
    (200, {"success": True, "result": []}, "malformed", "it has no result"),
    (200, b"<html>", "malformed", "not JSON"),
]


@pytest.mark.parametrize(("status", "document", "kind", "words"), CFSSL_PROBLEMS)
def test_cfssl_error_codes(status: int, document: Any, kind: str, words: str) -> None:
    """Only its text tells a bad token from a profile refusal; an error of the server is neither."""
    found = problem(cfssl.result, reply(status, document), "get a certificate", NOW)
    assert (kind, True, None) == (found[0], words in found[1], found[2])


def test_cfssl_result_is_read() -> None:
    """The result of a success, and nothing around it."""
    document = {"success": True, "result": {"certificate": "PEM"}, "errors": [], "messages": []}
    assert {"certificate": "PEM"} == cfssl.result(reply(200, document), "get a certificate", NOW)


def test_cfssl_busy_retry_after() -> None:
    """Retry-After is a moment, counted from the `now` that is passed in."""
    found = problem(cfssl.result, reply(429, {}, PAUSE), "get a certificate", NOW)
    assert ("rate-limited", NOW + timedelta(minutes=1)) == (found[0], found[2])


# Vault and OpenBao


OPTIONS = {"auth": "token", "namespace": "", "mount": "pki", "role": "node", "issuer": ""}
VAULT_PROBLEMS = [
    (403, OPTIONS, "credentials", "policy allow update on pki/sign/node?"),
    (403, OPTIONS | {"namespace": "team"}, "credentials", "valid in the namespace team"),
    (404, OPTIONS, "refused", "see mount, auth_mount, role and namespace"),
    (400, OPTIONS, "refused", "answered 400: «no; never»"),
    (412, OPTIONS, "failed", "answered 412"),
    (500, OPTIONS, "failed", "answered 500"),
]


@pytest.mark.parametrize(("status", "options", "kind", "words"), VAULT_PROBLEMS)
def test_vault_errors_are_classified(status: int, options: dict[str, Any], kind: str, words: str) -> None:
    """The errors that it lists, and what to check; a replica that is behind is not a refusal."""
    found = problem(vault.content, reply(status, {"errors": ["no", "never"]}), "sign", options, NOW)
    assert (kind, True, True) == (found[0], words in found[1], "no; never" in found[1])


@pytest.mark.parametrize("document", [{"data": {"a": 1}}, {"auth": {"a": 1}}, {"data": None, "auth": {"a": 1}}])
def test_vault_answer_data_and_auth(document: Any) -> None:
    """Results are in `data`; the token of a login is in `auth`."""
    assert {"a": 1} == vault.content(reply(200, document), "sign", OPTIONS, NOW)


@pytest.mark.parametrize("document", [[], {}, {"data": []}, "text", None])
def test_vault_answer_without_data_is_error(document: Any) -> None:
    """A success without content."""
    assert "malformed" == problem(vault.content, reply(200, document), "sign", OPTIONS, NOW)[0]


LOGINS = [
    (400, {"errors": ["invalid role or secret ID"]}, "credentials", "cannot log in by approle"),
    (500, {"errors": []}, "failed", "cannot log in by approle"),
    (200, {"auth": {"client_token": ""}}, "malformed", "the answer has no token"),
    (200, {"auth": {"client_token": 7}}, "malformed", "the answer has no token"),
    (200, {"auth": {"client_token": "two\nlines"}}, "credentials", "more than one line"),
]


@pytest.mark.parametrize(("status", "document", "kind", "words"), LOGINS)
def test_vault_login_failure_is_credentials(status: int, document: Any, kind: str, words: str) -> None:
    """400 is about the credentials; a token that cannot be a header is not used."""
    found = problem(vault.token_of, reply(status, document), OPTIONS | {"auth": "approle"}, NOW)
    assert (kind, True) == (found[0], words in found[1])


def test_vault_login_token_is_stripped() -> None:
    """Without the blanks around it."""
    assert "hvs.a" == vault.token_of(reply(200, {"auth": {"client_token": "hvs.a\n"}}), OPTIONS, NOW)


def test_vault_login_body_by_method() -> None:
    """AppRole sends its two identifiers; a certificate login only a role, if one is configured."""
    identifiers = {"role_id": "role\n", "secret_id": " secret"}
    assert vault.shown({"auth": "approle"}, identifiers) == {"role_id": "role", "secret_id": "secret"}
    assert vault.shown({"auth": "cert", "cert_role": "agent"}, {}) == {"name": "agent"}
    assert vault.shown({"auth": "cert", "cert_role": ""}, {}) == {}


@pytest.mark.parametrize(("token", "seconds"), [
    ({"renewable": True, "ttl": 1999, "creation_ttl": 3000}, 3000),
    ({"renewable": True, "ttl": 2000, "creation_ttl": 3000}, None),
    ({"renewable": True, "ttl": 3000, "creation_ttl": 3000}, None),
    ({"renewable": False, "ttl": 1, "creation_ttl": 3000}, None),
    ({"renewable": "true", "ttl": 1, "creation_ttl": 3000}, None),
    ({"renewable": True, "ttl": "1", "creation_ttl": 3000}, None),
    ({"renewable": True, "ttl": 1}, None),
    ({}, None),
])  # fmt: skip
def test_vault_token_renewed_after_third_of_life(token: dict[str, Any], seconds: int | None) -> None:
    """When a third of its lifetime is gone, for the whole of it; never one that is not renewable, or does not say."""
    assert seconds == vault.renewed_by(token)


# EST


@pytest.mark.parametrize(("operation", "status", "taken"), [
    (est.RENEW, 200, True),
    (est.RENEW, 202, True),
    (est.RENEW, 400, False),
    (est.ENROL, 200, True),
    (est.ENROL, 202, True),
])  # fmt: skip
def test_est_reenroll_refused_falls_to_enroll(operation: str, status: int, *, taken: bool) -> None:
    """A certificate that a server refuses to renew is enrolled anew: another CA may have issued it."""
    assert taken == est.taken(reply(status), operation, NOW)


@pytest.mark.parametrize(("operation", "status", "headers", "kind", "words"), [
    (est.RENEW, 401, {}, "credentials", "cannot renew by simplereenroll"),
    (est.RENEW, 429, PAUSE, "rate-limited", "cannot renew by simplereenroll"),
    (est.RENEW, 500, {}, "failed", "cannot renew by simplereenroll"),
    (est.ENROL, 400, {}, "refused", "cannot enrol"),
    (est.ENROL, 401, {}, "credentials", "cannot enrol"),
    (est.ENROL, 503, PAUSE, "rate-limited", "cannot enrol"),
])  # fmt: skip
def test_est_failure_is_final(operation: str, status: int, headers: dict[str, str], kind: str, words: str) -> None:
    """Every other failure is the answer: nothing is tried after it."""
    found = problem(est.taken, reply(status, b"no", headers), operation, NOW)
    assert (kind, True) == (found[0], words in found[1])


def test_est_202_retry_after_default_five_minutes() -> None:
    """202 waits until its Retry-After, without one for five minutes; 200 waits for nothing."""
    until, without = est.pending(reply(202, None, PAUSE), NOW), est.pending(reply(202), NOW)
    assert until is not None
    assert without is not None
    assert (60, 300) == (until.again_at - NOW.timestamp(), without.again_at - NOW.timestamp())
    assert est.pending(reply(200), NOW) is None


P384 = bytes.fromhex("30143012 06072a8648ce3d0201 3107 06052b81040022")


@pytest.mark.parametrize(("status", "body", "keys"), [(204, b"", ()), (404, b"", ()), (200, P384, ("ecdsa-p384",))])
def test_est_csrattrs_empty_and_present(status: int, body: bytes, keys: tuple[str, ...]) -> None:
    """A server without attributes, with an empty answer, and with one."""
    assert keys == est.attributes(reply(status, base64.encodebytes(body)), NOW)


@pytest.mark.parametrize(("status", "body", "kind", "words"), [
    (500, b"", "failed", "cannot read the CSR attributes"),
    (200, b"!", "malformed", "it is not base64"),
    (200, base64.b64encode(b"\x02\x01\x00"), "malformed", "it is not a sequence"),
])  # fmt: skip
def test_est_csrattrs_unreadable_is_error(status: int, body: bytes, kind: str, words: str) -> None:
    """An unreadable answer is an error, not "any key"."""
    found = problem(est.attributes, reply(status, body), NOW)
    assert (kind, True) == (found[0], words in found[1])


@pytest.mark.parametrize(("status", "kind"), [(404, "refused"), (401, "credentials"), (200, "malformed")])
def test_est_cacerts_refused_or_not_pkcs7(status: int, kind: str) -> None:
    """cacerts that is refused, and data that is not PKCS#7."""
    assert kind == problem(est.issuers, reply(status, b"aaaa"), NOW)[0]


# step-ca


CA = make_ca()
PEM = CA.cert.decode()
JWK = {"provisioner_key": json.dumps(new_jwk())}
PIN = fingerprint(CA.cert)


def question(**fields: Any) -> Request:
    """A request for a node's certificate, and the options and the live pair that are asked for."""
    options = {"url": URL, "provisioner": "jwk", **fields.pop("options", {})}
    return Asker("step", options).node(names=("db1",), **fields)


LIVE = CA.pair(names=("db1",))[0].decode()
LEAF = x509.parse_certificates(LIVE.encode())[0]
BEFORE, AFTER = LEAF.not_before + timedelta(seconds=1), LEAF.not_after + timedelta(seconds=1)
SHOWN = {"credential": "leaf"}
WAYS: list[tuple[str, dict[str, Any], dict[str, str], datetime, str]] = [
    ("a first one", {}, JWK, BEFORE, "/1.0/sign"),
    ("a renewal by its token", {"live": LIVE, "proof": "jwt"}, JWK, BEFORE, "/1.0/renew"),
    ("an expired one, with another way", {"live": LIVE, "proof": "jwt"}, JWK, AFTER, "/1.0/sign"),
    ("an expired one, without", {"live": LIVE, "proof": "jwt"}, {}, AFTER, "/1.0/renew"),
    ("a token without its certificate", {"proof": "jwt"}, JWK, BEFORE, "/1.0/sign"),
    ("a new key by the live pair", {"live": LIVE, "options": SHOWN}, JWK, BEFORE, "/1.0/rekey"),
    ("an expired pair", {"live": LIVE, "options": SHOWN}, JWK, AFTER, "/1.0/sign"),
    ("other names than the live ones", {"live": LIVE, "principal": "root", "options": SHOWN}, JWK, BEFORE, "/1.0/sign"),
    ("a pair that is not to be shown", {"live": LIVE}, JWK, BEFORE, "/1.0/sign"),
]


@pytest.mark.parametrize(("fields", "known", "now", "path"), [w[1:] for w in WAYS], ids=[w[0] for w in WAYS])
def test_step_request_method_by_credential(
    fields: dict[str, Any], known: dict[str, str], now: datetime, path: str
) -> None:
    """By the live key if that suffices, else by a token; the live pair is presented to /rekey alone."""
    asked = step.asking(question(**fields), known, now, "nonce")
    assert (path, path == "/1.0/rekey") == (asked.path, asked.as_leaf)
    assert ({"Authorization": "Bearer jwt"} if path == "/1.0/renew" else {}) == asked.headers


def test_step_lifetime_in_seconds() -> None:
    """In whole seconds, if one is asked for."""
    bodies = [step.asking(question(lifetime=wish), JWK, NOW, "nonce").document or {} for wish in (90.5, None)]
    assert ["90s", None] == [body.get("notAfter") for body in bodies]


@pytest.mark.parametrize(("known", "words"), [
    ({}, "set reuse_key = true"),
    ({"one_time_token": " \n"}, "set reuse_key = true"),
    ({"provisioner_key": "{}"}, "cannot use provisioner_key"),
    ({"x5c_cert": "no PEM", "x5c_key": "nor this"}, "cannot use x5c_cert and x5c_key"),
])  # fmt: skip
def test_step_token_missing_or_malformed(known: dict[str, str], words: str) -> None:
    """No key to make one with, or text that is not a token."""
    found = problem(step.one_time_token, question(), known, NOW, "nonce")
    assert ("credentials", True) == (found[0], words in found[1])


def test_step_token_from_file_is_stripped() -> None:
    """As it is, without its line break."""
    assert "a.b.c" == step.one_time_token(question(), {"one_time_token": "a.b.c\n"}, NOW, "nonce")


STEP_PROBLEMS = [
    (401, b"", "credentials", "the token was refused"),
    (403, b"", "refused", "policy forbids this certificate"),
    (400, b"no", "refused", "answered 400: «no»"),
    (500, b"no", "failed", "answered 500: «no»"),
    (200, b"no", "malformed", "not JSON"),
    (200, b"[]", "malformed", "not a JSON object"),
    (201, b'{"certChain": 7}', "malformed", "contains 0 certificates"),
    (201, b"{}", "malformed", "is not text"),
]


@pytest.mark.parametrize(("status", "body", "kind", "words"), STEP_PROBLEMS)
def test_step_refusal_codes(status: int, body: bytes, kind: str, words: str) -> None:
    """401 is about the token, 403 about the certificate."""
    found = problem(step.issued, reply(status, body), NOW)
    assert (kind, True) == (found[0], words in found[1])


@pytest.mark.parametrize(
    "document", [{"certChain": [LIVE, PEM]}, {"crt": LIVE, "ca": PEM}, {"certChain": [], "crt": LIVE, "ca": PEM}]
)
def test_step_answer_chain_or_leaf_and_ca(document: dict[str, Any]) -> None:
    """A chain, or the leaf and the certificates above it."""
    assert LIVE == step.issued(reply(201, document), NOW).chain


@pytest.mark.parametrize(("crts", "found"), [([PEM], [PEM]), ([], []), (7, []), (None, [])])
def test_step_roots_malformed_is_empty(crts: Any, found: list[str]) -> None:
    """A document that is not a list has no roots."""
    assert found == step.listed(reply(200, {"crts": crts}), "fetch /roots", NOW)


@pytest.mark.parametrize(("status", "pin", "words"), [
    (404, PIN, "it has no root with the fingerprint"),
    (200, "ab" * 32, "has another fingerprint"),
], ids=["unknown", "another"])  # fmt: skip
def test_step_root_not_pinned_is_refused(status: int, pin: str, words: str) -> None:
    """No root, or another one: nothing is trusted."""
    found = problem(step.shown_root, reply(status, {"ca": PEM}), URL, pin, NOW)
    assert ("tls", True) == (found[0], words in found[1])


def test_step_root_pinned_is_trusted() -> None:
    """Whichever server sends it."""
    assert PEM == step.shown_root(reply(200, {"ca": PEM}), URL, PIN, NOW)


@pytest.mark.parametrize(("kept", "found"), [
    ([PEM], PEM), ([7, None, PEM], PEM), ([], ""), (None, ""), (PEM, ""), ({PIN: PEM}, ""),
])  # fmt: skip
def test_step_root_shown_before_is_remembered(kept: object, found: str) -> None:
    """A root with the pinned fingerprint counts where the state keeps it in a list; anything else is no root."""
    assert found == step.shown_before(kept, PIN)
    assert "" == step.shown_before(kept, "ab" * 32)
