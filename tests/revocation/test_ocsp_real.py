"""Questions to responders that nobody here wrote: certomancer and OpenBao (`openssl ocsp` is in tests/system)."""

from pathlib import Path

import pytest

from certagent import revocation as ocsp
from certagent import x509
from certagent.core.facts import Answer
from tests.servers.certomancer import Certomancer
from tests.servers.openbao import OpenBao

pytestmark = [pytest.mark.slow, pytest.mark.real]


def asked(certs: bytes, bundle: bytes, *, lists: bool = False) -> list[tuple[Answer, ...]]:
    """What is answered about each certificate of a chain; with `lists` by the revocation lists alone."""
    found = x509.chain_links(certs, bundle)
    questions = [ocsp.Question(c.cert, c.issuer, () if lists else c.ocsp, c.crl) for c in found]
    return list(ocsp.ask(ocsp.asker(), questions, 20.0, reach=ocsp.Reach(allow_private=True)))


def test_ocsp_certomancer_chain(tmp_path: Path) -> None:
    """Leaf and intermediate are asked about at two responders, both delegated; the root is not. Lists agree."""
    with Certomancer(tmp_path / "pki") as pki:
        root, inter = pki.certificate("root/ca"), pki.certificate("inter/ca")
        good, bad = (pki.certificate(f"inter/issued/{n}") + inter for n in ("node", "node-revoked"))
        for lists in (False, True):
            assert [[a.status for a in answers] for answers in asked(good, root, lists=lists)] == [["good"], ["good"]]
            leaf, issuer = asked(bad, root, lists=lists)
            assert (leaf[0].status, leaf[0].reason, issuer[0].status) == ("revoked", "keyCompromise", "good")
        alone = pki.certificate("inter/issued/node")
        assert len(asked(alone, root + inter)) == 1  # an intermediate in the bundle is a root to Go: nobody asks


def test_ocsp_openbao_revocation(tmp_path: Path) -> None:
    """Good until it is revoked there, by OCSP and by list."""
    csr = x509.make_csr(x509.generate_key("ecdsa-p256"), "node", ("localhost",))
    with OpenBao(tmp_path) as bao:
        cert, root = bao.sign(csr).encode(), bao.root.encode()
        assert [[a.status for a in answers] for answers in asked(cert, root)] == [["good"]]
        assert [[a.status for a in answers] for answers in asked(cert, root, lists=True)] == [["good"]]
        bao.revoke(x509.parse_certificates(cert)[0].serial)
        assert [[a.status for a in answers] for answers in asked(cert, root)] == [["revoked"]]
        assert [[a.status for a in answers] for answers in asked(cert, root, lists=True)] == [["revoked"]]
