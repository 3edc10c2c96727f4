"""What is asked about, and what is made of the answers: values in, values out."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.certs_dir import Scan
from certagent.core.advice import Evidence
from certagent.core.facts import Checked, Directory
from certagent.operations.ocsp_advice import evidence, leaves_of
from certagent.posix.errors import HostError
from certagent.revocation.checker import told
from certagent.x509 import Link
from tests.core.building import NOW, leaf, pair, revocation, snapshot


def scan(directory: Directory | None = None) -> Scan:
    pairs = (pair("ca"), pair("node"), pair("client.root"), replace(pair("ui"), cert=None))
    return Scan(directory or snapshot().directory, pairs, ())


def test_ocsp_advice_asks_about_every_leaf() -> None:
    """Every certificate but the bundles; a key alone has none."""
    assert {"node": leaf(), "client.root": leaf("client.root")} == leaves_of("/certs", scan())


@pytest.mark.parametrize(("changes", "words"), [
    ({"exists": False}, "cannot read /certs: it does not exist"),
    ({"problem": "permission denied"}, "cannot read /certs: permission denied"),
])  # fmt: skip
def test_ocsp_advice_directory_unreadable_is_error(changes: dict[str, Any], words: str) -> None:
    """An error: no advice is given on an unread directory."""
    with pytest.raises(HostError, match=words):
        leaves_of("/certs", scan(replace(snapshot().directory, **changes)))


def test_ocsp_advice_evidence_lists_answered_leaves() -> None:
    """A leaf with its answers; one without any is left out."""
    said = revocation("node-1", "good")
    leaves = {"node": leaf(), "client.root": leaf("client.root")}
    assert [Evidence("node.crt", leaf(), said)] == evidence(leaves, [said, revocation("another", "revoked")])


def link(fingerprint: str) -> Link:
    return Link(b"", b"", fingerprint, f"CN={fingerprint}", (), ())


def test_ocsp_advice_evidence_of_a_leaf_by_link() -> None:
    """That of each link of its chain, in order; links are shared between leaves. Without a chain: why."""
    checked = {mark: Checked(mark, f"CN={mark}") for mark in ("a", "b", "above")}
    chains = {"a": (link("a"), link("above")), "b": (link("b"), link("above")), "c": ()}
    found = told(chains, checked, NOW)
    assert [("a", ["a", "above"]), ("b", ["b", "above"]), ("c", [])] == [
        (r.fingerprint, [c.fingerprint for c in r.chain]) for r in found
    ]
    assert ["", "", "the certificate does not chain to the trust bundle"] == [r.problem for r in found]
    assert {NOW} == {r.at for r in found}
