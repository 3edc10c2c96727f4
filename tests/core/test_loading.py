"""cockroach's decision per entry, and whether a node starts: one row per rule."""

from dataclasses import replace

import pytest

from certagent.core.facts import CertFile, File, KeyFile, LoaderFlags, Pair
from certagent.core.loading import start_problem, verdicts
from tests.core.building import OWNER, file, leaf, pair

GID = OWNER.gid


def broken(stem: str) -> Pair:
    return replace(pair(stem), cert=CertFile(file(f"{stem}.crt"), "", None, (), "broken", "unparsable"))


def keyed(mode: int = 0o600, problem: str = "", kind: str = "") -> Pair:
    key = KeyFile(file("node.key", mode), "", None, "", problem or None, kind)  # type: ignore[arg-type]
    return replace(pair(), key=key)


CUSTOM = leaf(common_names=("custom",))
ROWS: list[tuple[str, Pair, LoaderFlags, str]] = [
    ("a sound pair", pair(), LoaderFlags(), ""),
    ("broken", broken("node"), LoaderFlags(), "broken"),
    ("no key", replace(pair(), key=None), LoaderFlags(), "node.key is missing"),
    ("a wide key", keyed(0o644), LoaderFlags(), "mode is 0644"),
    ("a wide key, not looked at", keyed(0o644), LoaderFlags(skip_key_check=True), ""),
    ("a key that does not parse is not looked into", keyed(problem="x", kind="unparsable"), LoaderFlags(), ""),
    ("a key that cannot be read", keyed(problem="denied", kind="irregular"), LoaderFlags(), "the key: denied"),
    ("expired", pair(cert=leaf(not_after=leaf().not_before)), LoaderFlags(), ""),
    ("no principal, dual purpose", pair(cert=CUSTOM), LoaderFlags(), "not the principal 'node'"),
    ("mapped", pair(cert=CUSTOM), LoaderFlags(principal_map=(("custom", "node"),)), ""),
    ("a client of another name", pair("client.root", CUSTOM), LoaderFlags(), "not the principal 'root'"),
    ("a tenant's certificate", pair("client-tenant.7", CUSTOM), LoaderFlags(), ""),
    ("a bundle needs no key", pair("ca"), LoaderFlags(skip_key_check=True), ""),
    ("a broken bundle", broken("ca"), LoaderFlags(), "broken"),
]


@pytest.mark.parametrize(("label", "found", "terms", "reason"), ROWS, ids=[r[0] for r in ROWS])
def test_verdict(label: str, found: Pair, terms: LoaderFlags, reason: str) -> None:
    """Accepted, or the reason in words."""
    verdict = verdicts((found,), (), GID, terms)[0]
    assert verdict.accepted == (reason == ""), label
    assert reason in verdict.reason


@pytest.mark.parametrize("split", [pair("client.node"), broken("client.node")])
def test_a_split_node_needs_no_principal(split: Pair) -> None:
    """client.node.crt takes the client's part, even where it is broken itself: cockroach falls back on nothing."""
    found = {v.name: v.accepted for v in verdicts((pair(cert=CUSTOM), split), (), GID, LoaderFlags())}
    assert found["node.crt"]


STRANGERS = [
    (file("node.foo.crt"), "no name may follow"),
    (file("client.crt"), "no name after"),
    (file("tls.crt"), "unknown prefix"),
    (file("ui.crt", kind="directory"), "a directory"),
]


@pytest.mark.parametrize(("stranger", "reason"), STRANGERS, ids=[s.name for s, _ in STRANGERS])
def test_names_and_directories(stranger: File, reason: str) -> None:
    """What cockroach passes over is listed, without a role, with the reason."""
    verdict = verdicts((), (stranger,), GID, LoaderFlags())[0]
    assert (verdict.role, verdict.accepted) == ("", False)
    assert reason in verdict.reason


def test_keys_are_no_entries() -> None:
    """A verdict is about a .crt: stray keys have none."""
    assert verdicts((replace(pair("ui"), cert=None),), (file("old.key"),), GID, LoaderFlags()) == ()


STARTS: list[tuple[str, tuple[Pair, ...], str]] = [
    ("sound", (pair("ca"), pair()), ""),
    ("no ca", (pair(),), "ca.crt: it is missing"),
    ("no node", (pair("ca"),), "node.crt: it is missing"),
    ("a broken client CA", (pair("ca"), pair(), broken("ca-client")), "does not fall back"),
    ("a broken ui", (pair("ca"), pair(), broken("ui")), "does not fall back"),
    ("a broken client of a user", (pair("ca"), pair(), broken("client.root")), ""),
    ("a tenant without a number", (pair("ca"), pair(), pair("client-tenant.x")), "not a number"),
]


@pytest.mark.parametrize(("label", "pairs", "reason"), STARTS, ids=[r[0] for r in STARTS])
def test_start(label: str, pairs: tuple[Pair, ...], reason: str) -> None:
    """ca and node must be there and sound; a broken optional file is not fallen back from."""
    problem = start_problem(verdicts(pairs, (), GID, LoaderFlags()))
    assert reason in problem, label
    assert (reason == "") == (problem == ""), problem


ENTRIES = [
    ("a certificate that was read as nothing", replace(pair(), cert=CertFile(file("node.crt"), "", None)), "cannot be"),
    (
        "an irregular key",
        replace(pair(), key=KeyFile(file("node.key", kind="fifo"), "", None, "")),
        "not a regular file",
    ),
]


@pytest.mark.parametrize(("label", "found", "words"), ENTRIES, ids=[r[0] for r in ENTRIES])
def test_entry_without_a_certificate_or_a_regular_key_is_refused(label: str, found: Pair, words: str) -> None:
    """A file without a certificate, and a key that is a FIFO or a device, are refused with the reason."""
    assert words in verdicts((found,), (), GID, LoaderFlags())[0].reason, label
