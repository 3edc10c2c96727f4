"""A CA's private key in a certs directory: found by its name, and by the certificates beside it."""

from dataclasses import replace

import pytest

from certagent.core.decide import decide
from certagent.core.facts import KeyFile, Leaf, Pair
from tests.core.building import NOW, file, leaf, name_of, pair, policy, snapshot

HOUSE = leaf("ca", subject="CN=house", not_after=NOW.replace(year=2036))


def key(name: str, spki: str | None = "another") -> KeyFile:
    return KeyFile(file(name), f"bytes of {name}", spki)


def lone(stem: str, spki: str | None = "another") -> Pair:
    return Pair(name_of(stem), key=key(f"{stem}.key", spki))


def found(*pairs: Pair, loose: tuple[KeyFile, ...] = ()) -> list[tuple[str, str]]:
    files = tuple(k.file for k in loose)
    seen = snapshot(*pairs, unmanaged_files=files, loose_keys=loose)
    return [(f.code, f.file) for f in decide(policy(), seen, NOW).findings if f.severity != "info"]


@pytest.mark.parametrize("stem", ["ca-client", "ca-ui", "ca-client-tenant"])
def test_ca_key_of_any_bundle_is_found(stem: str) -> None:
    """With and without its certificate; a lone key asks for none."""
    assert found(pair("ca", HOUSE), pair(), lone(stem)) == [("ca.key-present", f"{stem}.key")]
    beside = replace(pair(stem, replace(HOUSE, spki="other")), key=key(f"{stem}.key", None))
    assert ("ca.key-present", f"{stem}.key") in found(pair("ca", HOUSE), pair(), beside)


@pytest.mark.parametrize("name", ["ca-old.key", "ca.2025.key", "backup.key"])
def test_ca_key_under_a_loose_name_is_found(name: str) -> None:
    """By its name, or as it belongs to a CA certificate: one finding, not also an unknown name."""
    spki = HOUSE.spki if name == "backup.key" else None
    assert found(pair("ca", HOUSE), pair(), loose=(key(name, spki),)) == [("ca.key-present", name)]


def test_other_loose_key_is_an_unknown_name() -> None:
    """A key that belongs to no CA."""
    assert found(pair("ca", HOUSE), pair(), loose=(key("backup.key"),)) == [("name.unknown", "backup.key")]


def test_ca_key_as_a_users_is_found() -> None:
    """Without a certificate it lacks none; a pair with the key of a CA needs another one. Intermediates count."""
    assert found(pair("ca", HOUSE), pair(), lone("client.old", HOUSE.spki)) == [("ca.key-present", "client.old.key")]
    middle = replace(HOUSE, spki="middle", fingerprint="middle")
    node = pair()
    assert node.cert is not None
    chained = replace(node, cert=replace(node.cert, chain=(middle,)))
    assert found(pair("ca", HOUSE), chained, lone("client.old", "middle")) == [("ca.key-present", "client.old.key")]
    own: Leaf = leaf(spki=HOUSE.spki)
    plan = decide(policy(), snapshot(pair("ca", HOUSE), pair("node", own)), NOW)
    assert [f.remedy for f in plan.findings if f.code == "ca.key-present"] == [
        "have node.crt issued with a key of its own"
    ]
