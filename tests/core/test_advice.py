"""Whether strict is safe: what cockroach would make of the answers."""

from typing import Any

import pytest

from certagent.core import advice
from certagent.core.facts import Answer, Checked, Revocation
from certagent.core.policy import OcspRule
from tests.core.building import NOW, leaf

A, B = "http://a.example.com", "http://b.example.com"


def answer(status: Any, url: str = A, ms: int = 10, source: Any = "ocsp") -> Answer:
    return Answer(source, url, status, NOW, "refused" if status == "unreachable" else "", ms)


def judged(*answers: Answer, mode: Any = "off", urls: tuple[str, ...] = (A, B)) -> dict[str, Any]:
    """The advice on a directory with one certificate."""
    node = leaf(ocsp=urls)
    found = Revocation(node.fingerprint, NOW, (Checked(node.fingerprint, node.subject, answers, urls),))
    return advice.directory("/certs", OcspRule(mode), [advice.Evidence("node.crt", node, found)])


ROWS = [
    ("good", (answer("good"),), "off", ("passes", "passes"), "safe"),
    ("revoked", (answer("revoked"),), "off", ("fails", "fails"), "breaks-now"),
    ("unknown", (answer("unknown"),), "off", ("passes", "fails"), "unsafe-in-strict"),
    ("unreachable", (answer("unreachable"),), "lax", ("passes", "fails"), "unsafe-in-strict"),
    ("unreachable, and strict already", (answer("unreachable"),), "strict", ("passes", "fails"), "breaks-now"),
    ("the second is good", (answer("unreachable"), answer("good", B)), "off", ("passes", "passes"), "safe"),
    ("the first decides", (answer("good"), answer("revoked", B)), "off", ("passes", "passes"), "safe"),
    ("the second is too late", (answer("unreachable", ms=2900), answer("good", B, 200)), "off", ("passes", "fails"),
     "unsafe-in-strict"),
    ("a list helps nobody", (answer("unreachable"), answer("good", B, 1, "crl")), "off", ("passes", "fails"),
     "unsafe-in-strict"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "answers", "mode", "outcomes", "safety"), ROWS, ids=[r[0] for r in ROWS])
def test_ocsp_advice_follows_cockroach(what: str, answers: Any, mode: Any, outcomes: Any, safety: str) -> None:
    """The first responder that decides, within the timeout that all of them share; lists are not read."""
    found = judged(*answers, mode=mode)
    (row,) = found["certificates"]
    assert (what, row["lax"], row["strict"], found["safety"]) == (what, *outcomes, safety)
    assert bool(row["remedy"]) is (row["strict"] == "fails")


def test_ocsp_advice_certificate_without_responder_exits_1() -> None:
    """No responder: nothing breaks, nothing is checked either; the advice on strict says so, by exit 1."""
    found = judged(urls=())
    (row,) = found["certificates"]
    assert (row["lax"], row["strict"], found["safety"]) == ("not-checked", "not-checked", "nothing-to-check")
    assert "strict would check nothing here" in found["message"]
    assert "authorityInfoAccess" in row["remedy"]
    assert advice.document([found], NOW)["exit"] == 1


def test_ocsp_advice_mixed_responders_is_safe() -> None:
    """One certificate is good, one names no responder: safe, and the message counts the second."""
    good, silent = leaf(ocsp=(A,)), leaf("client.root", ocsp=())
    told = Revocation(good.fingerprint, NOW, (Checked(good.fingerprint, good.subject, (answer("good"),), (A,)),))
    none = Revocation(silent.fingerprint, NOW, (Checked(silent.fingerprint, silent.subject),))
    both = [advice.Evidence("node.crt", good, told), advice.Evidence("client.root.crt", silent, none)]
    found = advice.directory("/certs", OcspRule(), both)
    assert (found["safety"], "1 of 2 certificates name no responder" in found["message"]) == ("safe", True)


def test_ocsp_advice_worst_directory_counts() -> None:
    """Exit 2 over 1 over 0; a directory with nothing to judge is not called safe."""
    made = [judged(answer(s)) for s in ("good", "unreachable", "revoked")]
    assert [advice.document(made[:n], NOW)["exit"] for n in (1, 2, 3)] == [0, 1, 2]
    assert advice.document([advice.directory("/certs", OcspRule(), [])], NOW)["exit"] == 1


def test_ocsp_advice_chain_incomplete() -> None:
    """No question can be asked about it, and cockroach refuses it anyway."""
    node = leaf()
    found = advice.Evidence(
        "node.crt", node, Revocation(node.fingerprint, NOW, (), "the certificate does not chain to the trust bundle")
    )
    made = advice.directory("/certs", OcspRule(), [found])
    assert (made["safety"], made["certificates"][0]["strict"]) == ("breaks-now", "fails")
