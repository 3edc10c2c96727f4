"""cockroach's decision per entry, and whether a node starts: one row per rule."""

from dataclasses import replace

import pytest

from certagent.core.facts import CertFile, File, KeyFile, LoaderFlags, Pair
from certagent.core.loading import start_doubt, start_problem, verdicts
from tests.core.building import OWNER, file, leaf, pair

GID = OWNER.gid


def broken(stem: str) -> Pair:
    return replace(pair(stem), cert=CertFile(file(f"{stem}.crt"), "", None, (), "broken", "unparsable"))


def keyed(mode: int = 0o600, problem: str = "", kind: str = "") -> Pair:
    key = KeyFile(file("node.key", mode), "", None, "", problem or None, kind)  # type: ignore[arg-type]
    return replace(pair(), key=key)


CUSTOM = leaf(common_names=("custom",))
OLD, NEW = LoaderFlags(release=(24, 1)), LoaderFlags(release=(24, 2))
ROWS: list[tuple[str, Pair, LoaderFlags, str]] = [
    ("a sound pair", pair(), LoaderFlags(), ""),
    ("broken", broken("node"), LoaderFlags(), "broken"),
    ("no key", replace(pair(), key=None), LoaderFlags(), "node.key is missing"),
    ("a wide key", keyed(0o644), LoaderFlags(), "mode is 0644"),
    ("a wide key, not looked at", keyed(0o644), LoaderFlags(skip_key_check=True), ""),
    ("a key that does not parse is not looked into", keyed(problem="x", kind="unparsable"), LoaderFlags(), ""),
    ("a key that cannot be read", keyed(problem="denied", kind="irregular"), LoaderFlags(), "the key: denied"),
    ("expired", pair(cert=leaf(not_after=leaf().not_before)), LoaderFlags(), ""),
    ("no principal, dual purpose", pair(cert=CUSTOM), OLD, "not the principal 'node'"),
    ("no principal, from 24.2 on", pair(cert=CUSTOM), NEW, ""),
    ("mapped", pair(cert=CUSTOM), replace(OLD, principal_map=(("custom", "node"),)), ""),
    ("a DN relaxes nothing", pair(cert=CUSTOM), replace(OLD, node_dn="CN=node"), "not the principal 'node'"),
    ("a client of another name", pair("client.root", CUSTOM), OLD, "not the principal 'root'"),
    ("a client of another name, from 24.2 on", pair("client.root", CUSTOM), NEW, ""),
    ("a URI is not looked at", pair("client.root", replace(CUSTOM, uris=("crdb://x",))), NEW, ""),
    ("a tenant's certificate", pair("client-tenant.7", CUSTOM), OLD, ""),
    ("setuid and sticky do not count", keyed(0o7600), NEW, ""),
    ("a bundle needs no key", pair("ca"), LoaderFlags(skip_key_check=True), ""),
    ("a broken bundle", broken("ca"), LoaderFlags(), "broken"),
]


@pytest.mark.parametrize(("label", "found", "terms", "reason"), ROWS, ids=[r[0] for r in ROWS])
def test_loader_verdict(label: str, found: Pair, terms: LoaderFlags, reason: str) -> None:
    """Accepted, or the reason in words."""
    verdict = verdicts((found,), (), GID, terms)[0]
    assert verdict.accepted == (reason == ""), label
    assert reason in verdict.reason


ROOT_KEY = KeyFile(file("node.key", 0o1740, uid=0, gid=GID), "", "spki-node-1")
GROUPS = [(GID, True), (GID + 1, False)]


@pytest.mark.parametrize(("gid", "accepted"), GROUPS)
def test_loader_key_of_root_and_process_group(gid: int, accepted: bool) -> None:
    """Within 0740 of the permission bits, which do not include the sticky bit."""
    assert verdicts((replace(pair(), key=ROOT_KEY),), (), gid, NEW)[0].accepted == accepted


def test_loader_unknown_version_reports_both() -> None:
    """The file is accepted and a node starts, as from 24.2 on; the reason says what older versions do."""
    found = verdicts((pair("ca"), pair(cert=CUSTOM), pair("client.app", CUSTOM)), (), GID, LoaderFlags())
    assert {v.name: v.accepted for v in found} == {"ca.crt": True, "node.crt": True, "client.app.crt": True}
    assert [v.reason[:20] for v in found] == ["", "refused up to 24.1: ", "refused up to 24.1: "]
    assert start_problem(found, (pair("ca"), pair(cert=CUSTOM))) == ""
    assert start_doubt(found).startswith("node.crt: refused up to 24.1")


@pytest.mark.parametrize("split", [pair("client.node"), broken("client.node")])
def test_loader_split_node_needs_no_principal(split: Pair) -> None:
    """client.node.crt is used as the client, even if it is broken itself: cockroach has no fallback."""
    found = {v.name: v.accepted for v in verdicts((pair(cert=CUSTOM), split), (), GID, OLD)}
    assert found["node.crt"]


STRANGERS = [
    (file("node.foo.crt"), "no name may follow"),
    (file("client.crt"), "no name after"),
    (file("tls.crt"), "unknown prefix"),
    (file("ui.crt", kind="directory"), "a directory"),
]


@pytest.mark.parametrize(("stranger", "reason"), STRANGERS, ids=[s.name for s, _ in STRANGERS])
def test_loader_ignored_names_and_directories_are_listed(stranger: File, reason: str) -> None:
    """Entries that cockroach ignores are listed, without a role, with the reason."""
    verdict = verdicts((), (stranger,), GID, LoaderFlags())[0]
    assert (verdict.role, verdict.accepted) == ("", False)
    assert reason in verdict.reason


def test_loader_stray_key_has_no_verdict() -> None:
    """A verdict is about a .crt: stray keys have none."""
    assert verdicts((replace(pair("ui"), cert=None),), (file("old.key"),), GID, LoaderFlags()) == ()


def other_key(stem: str, spki: str | None = "other", problem: str = "") -> Pair:
    return replace(pair(stem), key=KeyFile(file(f"{stem}.key"), "", spki, "", problem or None))


def headed(stem: str) -> Pair:
    bundle = pair(stem)
    assert bundle.cert is not None
    return replace(bundle, cert=replace(bundle.cert, pooled=False))


SOUND = (pair("ca"), pair())
HUGE = "18446744073709551616"
STARTS: list[tuple[str, tuple[Pair, ...], str]] = [
    ("sound", SOUND, ""),
    ("no ca", (pair(),), "ca.crt: the file is missing"),
    ("no node", (pair("ca"),), "node.crt: the file is missing"),
    ("a broken client CA", (*SOUND, broken("ca-client")), "does not fall back"),
    ("a broken tenants' CA", (*SOUND, broken("ca-client-tenant")), "does not fall back"),
    ("a broken ui", (*SOUND, broken("ui")), "does not fall back"),
    ("a broken UI CA", (*SOUND, broken("ca-ui")), ""),
    ("a broken client of a user", (*SOUND, broken("client.root")), ""),
    ("a tenant without a number", (*SOUND, pair("client-tenant.x")), "not an unsigned 64-bit"),
    ("a tenant's number of 65 bits", (*SOUND, pair(f"client-tenant.{HUGE}")), "not an unsigned 64-bit"),
    ("without a key", (*SOUND, replace(pair(f"tenant-signing.{HUGE}"), key=None)), "not an unsigned 64-bit"),
    ("a broken one", (*SOUND, broken("client-tenant.7.8")), "not an unsigned 64-bit"),
    ("the largest number", (*SOUND, pair("client-tenant.18446744073709551615")), ""),
    ("another key of the node", (pair("ca"), other_key("node")), "node.key does not match node.crt"),
    ("a garbage key of the node", (pair("ca"), other_key("node", None, "garbage")), "node.key: garbage"),
    ("another key of the console", (*SOUND, other_key("ui")), "ui.key does not match ui.crt"),
    ("another key of the node as a client", (*SOUND, other_key("client.node")), "client.node.key does not"),
    ("another key of a user", (*SOUND, other_key("client.root")), ""),
    ("a bundle of headers", (headed("ca"), pair()), "ca.crt: each of its certificates has PEM headers"),
    ("a client bundle of headers", (*SOUND, headed("ca-client")), "ca-client.crt: each of"),
    ("a UI bundle of headers", (*SOUND, headed("ca-ui")), ""),
]


@pytest.mark.parametrize(("label", "pairs", "reason"), STARTS, ids=[r[0] for r in STARTS])
def test_loader_node_start_needs_three_tls_configurations(label: str, pairs: tuple[Pair, ...], reason: str) -> None:
    """What the node uses must load, and give the three TLS configurations that are built at start."""
    problem = start_problem(verdicts(pairs, (), GID, LoaderFlags()), pairs)
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
