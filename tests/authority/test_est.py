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


def test_first_issuance_with_an_enrolment_pair(server: EstServer) -> None:
    """simpleenroll as the enrolment pair; the chain is completed from cacerts, and the root left out."""
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


def test_first_issuance_with_a_password(server: EstServer) -> None:
    """HTTP Basic, over a verified connection, without a client certificate."""
    asked = question(server, key_and_csr()[1], options={"username": USER})
    answer = ask(asked, context(trusting(server, enrolled=False), password=PASSWORD))
    assert isinstance(answer, Issued)
    assert USER in {r["who"] for r in server.requests()}


def test_renewal_with_a_new_key(server: EstServer) -> None:
    """A renewal of the same names goes to simplereenroll, as a re-key."""
    first = ask(question(server, key_and_csr()[1]), context(trusting(server)))
    assert isinstance(first, Issued)
    key, csr = key_and_csr()
    before = len(server.requests())
    second = ask(question(server, csr, live=first.chain), context(trusting(server)))
    assert isinstance(second, Issued)
    assert x509.parse_certificates(second.chain.encode())[0].spki == x509.parse_key(key)[0]
    assert "/.well-known/est/simplereenroll" == server.requests()[before]["path"]


def test_renewal_as_the_live_pair(server: EstServer) -> None:
    """`credential = "leaf"`: the live pair is what is shown, and simplereenroll takes it."""
    key, csr = key_and_csr()
    first = ask(question(server, csr), context(trusting(server)))
    assert isinstance(first, Issued)
    shown = Tls(roots=server.material.tls.ca.read_text(), client_cert=first.chain, client_key=key.decode())
    before = len(server.requests())
    assert isinstance(ask(question(server, key_and_csr()[1], live=first.chain), context(shown)), Issued)
    assert ("CN=node,O=Cockroach", 200) == (server.requests()[before]["who"], server.requests()[before]["status"])


def test_a_pair_of_another_ca_is_enrolled_anew(server: EstServer) -> None:
    """simplereenroll is refused for what the server never issued: it is asked by simpleenroll instead."""
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


def test_a_busy_server_is_asked_once(server: EstServer) -> None:
    """simplereenroll is rate limited: that is the answer, and simpleenroll is not tried behind it."""
    first = ask(question(server, key_and_csr()[1]), context(trusting(server)))
    assert isinstance(first, Issued)
    before = len(server.requests())
    assert "rate-limited" == refused(server, "busy", live=first.chain).kind
    assert ["simplereenroll"] == [r["path"].rpartition("/")[2] for r in server.requests()[before:]]


def test_other_names_are_enrolled(server: EstServer) -> None:
    """A request whose names differ from the live certificate's is no renewal (RFC 7030, section 4.2.2)."""
    first = ask(question(server, key_and_csr()[1]), context(trusting(server)))
    assert isinstance(first, Issued)
    before = len(server.requests())
    ask(question(server, key_and_csr(names=(*NAMES, "new"))[1], live=first.chain), context(trusting(server)))
    assert "/.well-known/est/simpleenroll" == server.requests()[before]["path"]


def test_a_server_that_takes_its_time(server: EstServer) -> None:
    """202 with Retry-After: the request waits until then, and the same request is answered."""
    asked = question(server, key_and_csr()[1], "slow")
    waiting = ask(asked, context(trusting(server)))
    assert isinstance(waiting, Pending)
    assert waiting.again_at == (NOW + timedelta(seconds=7)).timestamp()
    assert isinstance(ask(asked, context(trusting(server))), Issued)


def test_roots(server: EstServer) -> None:
    """cacerts: every certificate of the server as a candidate; what is pinned is the daemon's business."""
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
def test_errors(server: EstServer, label: str, kind: str, words: str) -> None:
    """Each answer that is no certificate says who can act, in one line."""
    error = refused(server, label)
    assert (error.kind, words in str(error)) == (kind, True), str(error)
    assert str(error).startswith("cannot ")
    assert "\n" not in str(error)


def test_retry_after_is_kept(server: EstServer) -> None:
    """503 with Retry-After says when to ask again."""
    assert refused(server, "busy").retry_at == NOW + timedelta(seconds=120)


def test_nobody(server: EstServer) -> None:
    """Without an enrolment pair or a password, or with a wrong one: credentials, and nothing of them in the message."""
    with pytest.raises(AuthorityError) as caught:
        ask(question(server, key_and_csr()[1]), context(trusting(server, enrolled=False)))
    assert "credentials" == caught.value.kind
    asked = question(server, key_and_csr()[1], options={"username": USER})
    with pytest.raises(AuthorityError) as caught:
        ask(asked, context(trusting(server, enrolled=False), password="wrong horse"))  # noqa: S106 - of a test
    assert "credentials" == caught.value.kind
    assert "wrong horse" not in str(caught.value)


def test_an_endpoint_that_is_not_trusted(server: EstServer) -> None:
    """Other TLS roots: nothing is sent."""
    before = len(server.requests())
    with pytest.raises(AuthorityError) as caught:
        ask(question(server, key_and_csr()[1]), context(Tls(roots=server.material.root.read_text())))
    assert ("tls", before) == (caught.value.kind, len(server.requests()))


def test_a_pinned_endpoint(server: EstServer) -> None:
    """A pinned fingerprint is enough."""
    pin = x509.parse_certificates(server.material.tls.cert.read_bytes())[0].fingerprint
    asked = question(server, key_and_csr()[1], options={"username": USER})
    assert isinstance(ask(asked, context(Tls(fingerprints=(pin,)), password=PASSWORD)), Issued)


def test_the_kind_of_key_that_is_wanted(server: EstServer) -> None:
    """`csrattrs = true`: a key of another kind is not even asked for; the wanted kind is."""
    wants = {"options": {"csrattrs": True}}
    error = refused(server, "curves", **wants)
    assert ("refused", True) == (error.kind, "expects ecdsa-p384" in str(error))
    for label, kind in (("curves", "ecdsa-p384"), ("", "ecdsa-p256")):
        asked = question(server, key_and_csr(kind)[1], label, **wants)
        assert isinstance(ask(asked, context(trusting(server))), Issued)


def test_a_server_that_is_not_there() -> None:
    """Nobody listens: unreachable."""
    asked = request("est", {**OPTIONS, "url": f"https://127.0.0.1:{closed_port()}"}, key_and_csr()[1])
    with pytest.raises(AuthorityError) as caught:
        ask(asked, context())
    assert "unreachable" == caught.value.kind
