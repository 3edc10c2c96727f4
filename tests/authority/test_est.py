"""EST against a server of ours, in a process of its own: see tests/servers/est.py for why."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends.est import ask
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Issued, Pending, Request, Roots, Tls
from tests.authority.calling import NAMES, NOW, context, key_and_csr, request
from tests.servers.est import PASSWORD, USER, EstServer
from tests.servers.process import closed_port

OPTIONS: dict[str, Any] = {"label": "", "username": "", "credential": "enrolment", "csrattrs": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with EstServer(tmp_path_factory.mktemp("est")) as running:
        yield running


def question(server: EstServer, csr: bytes, label: str = "", **changes: Any) -> Request:
    options = {**OPTIONS, "url": server.url, "label": label, **changes.pop("options", {})}
    return request("est", options, csr, **changes)


def trusting(server: EstServer, *, enrolled: bool = True) -> Tls:
    made = server.material
    pair = (made.enrolment_cert.read_text(), made.enrolment_key.read_text()) if enrolled else ("", "")
    return Tls(roots=made.tls.ca.read_text(), client_cert=pair[0], client_key=pair[1])


def chained(server: EstServer, chain: str) -> str | None:
    """What is wrong with the chain by the server's root."""
    return x509.verify_chain(chain.encode(), server.material.root.read_bytes(), "server", datetime.now(UTC))


def refused(server: EstServer, label: str, **changes: Any) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        ask(question(server, key_and_csr()[1], label, **changes), context(trusting(server)))
    return caught.value


def test_est_first_issuance_by_bootstrap_credential(server: EstServer) -> None:
    """simpleenroll with the bootstrap credential; the chain is completed from cacerts, without the root."""
    key, csr = key_and_csr()
    answer = ask(question(server, csr), context(trusting(server)))
    assert isinstance(answer, Issued)
    leaf, *chain = x509.parse_certificates(answer.chain.encode())
    assert (leaf.spki, leaf.sans) == (x509.parse_key(key)[0], ("DNS:db1.example.com", "IP:10.0.0.5"))
    assert ["CN=issuing CA of a test"] == [c.subject for c in chain]
    assert chained(server, answer.chain) is None
    assert ("simpleenroll", "CN=db1-enrolment,O=Cockroach") in {
        (r["path"].rpartition("/")[2], r["who"]) for r in server.requests()
    }


def test_est_first_issuance_by_password(server: EstServer) -> None:
    """HTTP Basic, over a verified connection, without a client certificate."""
    asked = question(server, key_and_csr()[1], options={"username": USER})
    answer = ask(asked, context(trusting(server, enrolled=False), password=PASSWORD))
    assert isinstance(answer, Issued)
    assert USER in {r["who"] for r in server.requests()}


def test_est_url_may_end_with_the_well_known_path(server: EstServer) -> None:
    """It is not doubled."""
    before = len(server.requests())
    asked = question(server, key_and_csr()[1], options={"url": f"{server.url}/.well-known/est"})
    assert isinstance(ask(asked, context(trusting(server))), Issued)
    assert "/.well-known/est/simpleenroll" == server.requests()[before]["path"]


def test_est_renewal_with_new_key_is_simplereenroll(server: EstServer) -> None:
    """A renewal of the same names goes to simplereenroll, as a re-key."""
    first = ask(question(server, key_and_csr()[1]), context(trusting(server)))
    assert isinstance(first, Issued)
    key, csr = key_and_csr()
    before = len(server.requests())
    second = ask(question(server, csr, live=first.chain), context(trusting(server)))
    assert isinstance(second, Issued)
    assert x509.parse_certificates(second.chain.encode())[0].spki == x509.parse_key(key)[0]
    assert "/.well-known/est/simplereenroll" == server.requests()[before]["path"]


def test_est_renewal_authenticates_with_live_pair(server: EstServer) -> None:
    """`credential = "leaf"`: the live pair is presented, and simplereenroll accepts it."""
    key, csr = key_and_csr()
    first = ask(question(server, csr), context(trusting(server)))
    assert isinstance(first, Issued)
    shown = Tls(roots=server.material.tls.ca.read_text(), client_cert=first.chain, client_key=key.decode())
    before = len(server.requests())
    assert isinstance(ask(question(server, key_and_csr()[1], live=first.chain), context(shown)), Issued)
    assert ("CN=node,O=Cockroach", 200) == (server.requests()[before]["who"], server.requests()[before]["status"])


def test_est_pair_of_other_ca_is_enrolled_anew(server: EstServer) -> None:
    """simplereenroll refuses a certificate that the server did not issue: simpleenroll is asked instead."""
    names = ("moved.example.com",)
    ca, ca_key = x509.make_ca("before", timedelta(days=9), NOW)
    live = x509.sign_csr(
        key_and_csr(names=names)[1],
        ca,
        ca_key,
        server=True,
        client=True,
        not_before=NOW,
        not_after=NOW + timedelta(days=2),
    )
    before = len(server.requests())
    answer = ask(question(server, key_and_csr(names=names)[1], live=live.decode()), context(trusting(server)))
    assert isinstance(answer, Issued)
    asked = [(r["path"].rpartition("/")[2], r["status"]) for r in server.requests()[before:]]
    assert [("simplereenroll", 400), ("simpleenroll", 200), ("cacerts", 200)] == asked


def test_est_rate_limited_is_asked_once(server: EstServer) -> None:
    """simplereenroll is rate limited: that is the answer, and simpleenroll is not tried after it."""
    first = ask(question(server, key_and_csr()[1]), context(trusting(server)))
    assert isinstance(first, Issued)
    before = len(server.requests())
    assert "rate-limited" == refused(server, "busy", live=first.chain).kind
    assert ["simplereenroll"] == [r["path"].rpartition("/")[2] for r in server.requests()[before:]]


def test_est_changed_names_are_enrolled_anew(server: EstServer) -> None:
    """A request whose names differ from the live certificate's is not a renewal (RFC 7030, section 4.2.2)."""
    first = ask(question(server, key_and_csr()[1]), context(trusting(server)))
    assert isinstance(first, Issued)
    before = len(server.requests())
    ask(question(server, key_and_csr(names=(*NAMES, "new"))[1], live=first.chain), context(trusting(server)))
    assert "/.well-known/est/simpleenroll" == server.requests()[before]["path"]


def test_est_202_is_pending_until_retry_after(server: EstServer) -> None:
    """202 with Retry-After: the request waits until then, and the same request is answered."""
    asked = question(server, key_and_csr()[1], "slow")
    waiting = ask(asked, context(trusting(server)))
    assert isinstance(waiting, Pending)
    assert waiting.again_at == (NOW + timedelta(seconds=7)).timestamp()
    assert isinstance(ask(asked, context(trusting(server))), Issued)


def test_est_roots(server: EstServer) -> None:
    """cacerts: every certificate of the server is a candidate; the daemon compares them with the pinned roots."""
    answer = ask(question(server, b"", operation="roots"), context(trusting(server)))
    assert isinstance(answer, Roots)
    assert {"CN=root CA of a test,O=Cockroach", "CN=issuing CA of a test"} == {
        c.subject for c in x509.parse_certificates(answer.pem.encode())
    }


ERRORS = [
    ("strict", "refused", "does not  allow these names"),
    ("busy", "rate-limited", "too much to do"),
    ("garbage", "malformed", "not base64"),
    ("foreign", "malformed", "no certificate in it matches the key"),
]


@pytest.mark.parametrize(("label", "kind", "words"), ERRORS, ids=[e[0] for e in ERRORS])
def test_est_errors_name_who_can_act(server: EstServer, label: str, kind: str, words: str) -> None:
    """Each answer without a certificate says who can act, in one line."""
    error = refused(server, label)
    assert (error.kind, words in str(error)) == (kind, True), str(error)
    assert str(error).startswith("cannot ")
    assert "\n" not in str(error)


def test_est_503_retry_after_is_kept(server: EstServer) -> None:
    """503 with Retry-After says when to ask again."""
    assert refused(server, "busy").retry_at == NOW + timedelta(seconds=120)


def test_est_credentials_missing_or_wrong(server: EstServer) -> None:
    """No bootstrap credential or password, or a wrong one: credentials, and the message does not quote them."""
    with pytest.raises(AuthorityError) as caught:
        ask(question(server, key_and_csr()[1]), context(trusting(server, enrolled=False)))
    assert "credentials" == caught.value.kind
    asked = question(server, key_and_csr()[1], options={"username": USER})
    with pytest.raises(AuthorityError) as caught:
        ask(asked, context(trusting(server, enrolled=False), password="wrong horse"))  # noqa: S106 - of a test
    assert "credentials" == caught.value.kind
    assert "wrong horse" not in str(caught.value)


def test_est_endpoint_untrusted_is_refused(server: EstServer) -> None:
    """Other TLS roots: nothing is sent."""
    before = len(server.requests())
    with pytest.raises(AuthorityError) as caught:
        ask(question(server, key_and_csr()[1]), context(Tls(roots=server.material.root.read_text())))
    assert ("tls", before) == (caught.value.kind, len(server.requests()))


def test_est_endpoint_pinned_fingerprint_suffices(server: EstServer) -> None:
    """A pinned fingerprint is enough."""
    pin = x509.parse_certificates(server.material.tls.cert.read_bytes())[0].fingerprint
    asked = question(server, key_and_csr()[1], options={"username": USER})
    assert isinstance(ask(asked, context(Tls(fingerprints=(pin,)), password=PASSWORD)), Issued)


def test_est_csrattrs_key_type_mismatch_is_refused(server: EstServer) -> None:
    """`csrattrs = true`: a key of another type is not sent; one of the wanted type is."""
    wants = {"options": {"csrattrs": True}}
    error = refused(server, "curves", **wants)
    assert ("refused", True) == (error.kind, "expects ecdsa-p384" in str(error))
    for label, kind in (("curves", "ecdsa-p384"), ("", "ecdsa-p256")):
        asked = question(server, key_and_csr(kind)[1], label, **wants)
        assert isinstance(ask(asked, context(trusting(server))), Issued)


def test_est_unreachable() -> None:
    """The port is closed."""
    asked = request("est", {**OPTIONS, "url": f"https://127.0.0.1:{closed_port()}"}, key_and_csr()[1])
    with pytest.raises(AuthorityError) as caught:
        ask(asked, context())
    assert "unreachable" == caught.value.kind
