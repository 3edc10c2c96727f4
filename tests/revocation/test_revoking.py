"""From the files of a certs-dir to questions: which chain is asked about, and what is kept."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certagent import x509
from certagent.core.policy import OcspRule
from certagent.revocation.checker import Revoking
from tests.making import Ca, make_ca, put
from tests.revocation.responders import answer, counted, reply, responder, sending
from tests.revocation.test_ocsp import revocation_list

pytestmark = pytest.mark.slow
HOUR = timedelta(hours=1)
LAX = OcspRule("lax", allow_private=True)


def issued(ca: Ca, ocsp: str, crl: str = "") -> tuple[bytes, bytes]:
    """A pair whose certificate names a responder and a list."""
    now, key = datetime.now(UTC), x509.generate_key("ecdsa-p256")
    csr = x509.make_csr(key, "node", ("localhost",))
    span = {"not_before": now - HOUR, "not_after": now + HOUR}
    return x509.sign_csr(csr, ca.cert, ca.key, server=True, client=True, **span, urls=(ocsp, crl)), key


def mark(pem: bytes) -> str:
    return x509.parse_certificates(pem)[0].fingerprint


def test_revocation_pairs_are_found_by_fingerprint(tmp_path: Path) -> None:
    """The live pair, the staged one, and one that is gone meanwhile; a responder that is down is an answer too."""
    ca = make_ca()
    (tmp_path / "ca.crt").write_bytes(ca.cert)
    with ExitStack() as running:
        down = "http://127.0.0.1:1/"
        live, staged = issued(ca, down), issued(ca, down)
        put(tmp_path, "node", live)
        asking = Revoking(str(tmp_path), lambda: [("node", staged[0])])
        known = asking.ask(
            LAX,
            [("node", mark(live[0])), ("node", mark(staged[0])), ("node", "gone")],
            datetime.now(UTC),
        )
        assert [(r.fingerprint, r.status) for r in known] == [
            (mark(live[0]), "unreachable"),
            (mark(staged[0]), "unreachable"),
        ]
        url = running.enter_context(responder(sending(reply(answer(ca, live[0])))))
        put(tmp_path, "node", again := issued(ca, url))
        (told,) = asking.ask(LAX, [("node", mark(again[0]))], datetime.now(UTC))
        assert "another certificate" in told.chain[0].answers[0].reason


def test_crl_is_fetched_once_until_it_is_old(tmp_path: Path) -> None:
    """While responders fail, a list is kept until nextUpdate, max_interval at the latest; crl = false reads none."""
    ca, calls = make_ca(), list[int]()
    (tmp_path / "ca.crt").write_bytes(ca.cert)
    with responder(counted(sending(reply(revocation_list(ca), kind=b"application/pkix-crl")), calls)) as listed:
        pair = issued(ca, "http://127.0.0.1:1/", listed)
        put(tmp_path, "node", pair)
        leaves = [("node", mark(pair[0]))]
        asking = Revoking(str(tmp_path), lambda: ())
        for _ in range(2):
            (known,) = asking.ask(LAX, leaves, datetime.now(UTC))
            assert [(a.source, a.status) for a in known.chain[0].answers] == [("ocsp", "unreachable"), ("crl", "good")]
        assert len(calls) == 1
        asking.ask(replace(LAX, max_interval=timedelta(0)), leaves, datetime.now(UTC))
        assert len(calls) == 2
        (known,) = Revoking(str(tmp_path), lambda: ()).ask(replace(LAX, crl=False), leaves, datetime.now(UTC))
        assert ([a.source for a in known.chain[0].answers], len(calls)) == (["ocsp"], 2)


def test_revocation_without_chain_is_a_fact(tmp_path: Path) -> None:
    """A pair of another CA, no bundle, garbage: a fact without answers, nothing raised."""
    stranger = issued(make_ca("stranger"), "http://127.0.0.1:1/")
    put(tmp_path, "node", stranger)
    leaves = [("node", mark(stranger[0]))]
    for bundle in (None, make_ca().cert, b"garbage"):
        if bundle is not None:
            (tmp_path / "ca.crt").write_bytes(bundle)
        (known,) = Revoking(str(tmp_path), lambda: ()).ask(LAX, leaves, datetime.now(UTC))
        assert (known.chain, known.status, known.problem != "") == ((), "unreachable", True)


def test_revocation_issuer_in_file_suffices(tmp_path: Path) -> None:
    """A public CA chains to no bundle here: its leaf, the DB Console's, is still asked about."""
    public = make_ca("public")
    (tmp_path / "ca.crt").write_bytes(make_ca().cert)
    cert, key = issued(public, "http://127.0.0.1:1/")
    put(tmp_path, "ui", (cert + public.cert, key))
    (known,) = Revoking(str(tmp_path), lambda: ()).ask(LAX, [("ui", mark(cert))], datetime.now(UTC))
    assert [c.status for c in known.chain] == ["unreachable"]
