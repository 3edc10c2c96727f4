"""The rules about one pair and the pre-install checks: one row per rule."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certagent.core.catalogue import FINDINGS
from certagent.core.facts import CertFile, Leaf, Pair, Staged, Trust
from certagent.core.policy import Owner, Want
from certagent.core.rules import key_file, key_mode_accepted, pair_findings, refusal
from tests.core.building import DAY, NOW, OWNER, file, leaf, name_of, pair, staged, want


def unreadable(kind: str) -> Pair:
    cert = CertFile(file("node.crt"), "", None, (), "broken", kind)  # type: ignore[arg-type]
    return pair(cert=leaf(), trust=None) if not kind else replace(pair(), cert=cert, trust=None)


ROWS = [
    ("a sound pair", pair(), want(), []),
    ("no certificate", replace(pair(), cert=None), want(), ["cert.missing"]),
    ("no key", replace(pair(), key=None), want(), ["key.missing"]),
    ("an empty file", unreadable("empty"), want(), ["cert.empty"]),
    ("no PEM", unreadable("unparsable"), want(), ["cert.unparsable"]),
    ("a FIFO", unreadable("irregular"), want(), ["cert.irregular"]),
    ("another's key", replace(pair(), key=pair(cert=leaf(serial=9)).key), want(), ["key.mismatch"]),
    ("expired", pair(cert=leaf(not_after=NOW)), want(), ["cert.expired"]),
    ("not yet valid", pair(cert=leaf(not_before=NOW + DAY)), want(), ["cert.not-yet-valid"]),
    ("under a sixth of its life", pair(cert=leaf(not_after=NOW + DAY * 1.9)), want(), ["cert.expires-soon"]),
    ("warn as a duration", pair(), want(warn=21 * DAY), ["cert.expires-soon"]),
    ("no principal", pair(cert=leaf(common_names=("db1",))), want(), ["cert.principal"]),
    ("the principal is a DNS SAN", pair(cert=leaf(common_names=(), dns=("node", "db1.example.com"))), want(), []),
    ("a name is missing", pair(cert=leaf(dns=())), want(), ["cert.san"]),
    (
        "a name too many, dropped by order",
        pair(cert=leaf(dns=("db1.example.com", "old"))),
        want(drop_names=True),
        ["cert.san"],
    ),
    ("a name too many, no order", pair(cert=leaf(dns=("db1.example.com", "old"))), want(), []),
    ("no clientAuth in a dual-purpose node", pair(cert=leaf(eku=("serverAuth",))), want(), ["cert.eku"]),
    ("no EKU at all allows everything", pair(cert=leaf(eku=None)), want(), []),
    ("anyExtendedKeyUsage", pair(cert=leaf(eku=("any",))), want(), []),
    ("no chain to the bundle", pair(trust=Trust("ca", "no chain")), want(), ["cert.untrusted"]),
    ("a short RSA key", pair(cert=leaf(key="rsa-1024")), want(), ["cert.weak"]),
    ("a curve that TLS 1.3 has no scheme for", pair(cert=leaf(key="ecdsa-p224")), want(), ["cert.weak"]),
    ("another type of key than configured", pair(), want(key="rsa-4096", key_configured=True), ["cert.key"]),
    ("another type of key than the default", pair(), want(key="rsa-4096"), []),
    ("another type of key, which is reused", pair(), want(key="rsa-4096", key_configured=True, reuse_key=True), []),
    ("a SHA-1 signature", pair(cert=leaf(signature="sha1")), want(), ["cert.weak"]),
]


@pytest.mark.parametrize(("label", "found", "wanted", "codes"), ROWS, ids=[r[0] for r in ROWS])
def test_rules_pair_findings(label: str, found: Pair, wanted: Want, codes: list[str]) -> None:
    """Each defect of a pair is one finding with its own code."""
    assert codes == [f.code for f in pair_findings(wanted, found, NOW)], label


@pytest.mark.parametrize(
    ("key", "severity"),
    [
        ("rsa-1024", "warning"),
        ("rsa-8192", None),
        ("rsa-8193", "critical"),
        ("ecdsa-p224", "critical"),
        ("ecdsa-p521", None),
        ("ed25519", None),
        ("dsa-2048", "critical"),
        ("unknown", "critical"),
    ],
)
def test_rules_key_unusable_in_tls_is_critical(key: str, severity: str | None) -> None:
    """A weak key still serves; one that Go's TLS refuses breaks every new connection."""
    assert severity == next((f.severity for f in pair_findings(want(), pair(cert=leaf(key=key)), NOW)), None)


BETWEEN = leaf("ca", 7, not_after=NOW + 900 * DAY)
EARLY = replace(BETWEEN, not_before=NOW + DAY)
CHAINS = [
    ("another CA", Trust("ca", "its issuer is not in the bundle"), (BETWEEN,), "add the issuing root"),
    ("a CA that ended", Trust("ca", "expired", ends=NOW - DAY, ends_by="CN=between"), (BETWEEN,), "renew its own"),
    ("a CA that ends later", Trust("ca", "no chain", ends=NOW + DAY, ends_by="CN=between"), (), "add the issuing root"),
    ("a CA of the future", Trust("ca", "not valid before tomorrow"), (EARLY,), "check the clock"),
]


@pytest.mark.parametrize(("label", "trust", "chain", "remedy"), CHAINS, ids=[r[0] for r in CHAINS])
def test_rules_untrusted_remedy_follows_cause(label: str, trust: Trust, chain: tuple[Leaf, ...], remedy: str) -> None:
    """A chain fails by its dates, too: a root that is added to a bundle mends nothing then."""
    made = pair(trust=trust)
    assert made.cert is not None
    found = pair_findings(want(), replace(made, cert=replace(made.cert, chain=chain), trust=trust), NOW)
    assert [remedy in f.remedy for f in found if f.code == "cert.untrusted"] == [True], label


def bundle(*cas: object) -> Pair:
    first, *rest = cas
    return replace(pair("ca"), cert=CertFile(file("ca.crt"), "d", first, tuple(rest)))  # type: ignore[arg-type]


VALID, OVER = leaf("ca", not_after=NOW + 3000 * DAY), leaf("ca", 2, not_after=NOW - DAY)
BUNDLES = [
    ("a valid CA", bundle(VALID), []),
    ("a leaf among the CAs", bundle(VALID, leaf()), [("ca.not-a-ca", "warning")]),
    ("an expired CA beside a valid one", bundle(VALID, OVER), [("ca.expired", "warning")]),
    ("only an expired CA", bundle(OVER), [("ca.expired", "critical")]),
    ("a CA that ends", bundle(leaf("ca", not_after=NOW + DAY)), [("ca.expires-soon", "warning")]),
    ("the CA's key beside it", replace(bundle(VALID), key=pair().key), [("ca.key-present", "warning")]),
    ("no bundle", replace(pair("ca"), cert=None), [("ca.missing", "critical")]),
]


@pytest.mark.parametrize(("label", "found", "expected"), BUNDLES, ids=[r[0] for r in BUNDLES])
def test_rules_bundle_findings(label: str, found: Pair, expected: list[tuple[str, str]]) -> None:
    """A trust bundle is judged certificate by certificate; one valid CA keeps an expired one from being critical."""
    assert expected == [(f.code, f.severity) for f in pair_findings(want("ca"), found, NOW)], label


MODES = [
    (0o600, 999, 999, True),
    (0o400, 999, 999, True),
    (0o700, 999, 999, True),
    (0o640, 999, 999, False),
    (0o604, 999, 999, False),
    (0o640, 0, 999, True),
    (0o740, 0, 999, True),
    (0o660, 0, 999, False),
    (0o640, 0, 0, False),
    (0o644, 0, 999, False),
]


@pytest.mark.parametrize(("mode", "uid", "gid", "accepted"), MODES)
def test_rules_key_mode(mode: int, uid: int, gid: int, *, accepted: bool) -> None:
    """cockroach accepts a key within 0700, or root's within 0740 if its group is the process's."""
    assert accepted == key_mode_accepted(file("node.key", mode, uid=uid, gid=gid), 999)


def test_rules_key_owner_prints_chown() -> None:
    """A key of another user is a finding that prints the exact chown; cockroach accepts root:cockroach 0640 as well."""
    found = list(key_file(file("node.key", uid=0, gid=0), OWNER, path="/certs"))
    assert [("key.owner", "chown 999:999 /certs/node.key")] == [(f.code, f.remedy) for f in found]
    assert not list(key_file(file("node.key", 0o640, uid=0, gid=999), Owner("cockroach", 999, 999), path="/certs"))


LATER = NOW + 30 * DAY
CHECKS = [
    ("a sound answer", staged(), False, None),
    ("no key", staged(pair=replace(staged().pair, key=None)), True, "node.key is missing"),
    ("another's key", staged(pair=replace(staged().pair, key=pair().key)), True, "does not match"),
    ("untrusted", staged(pair=replace(staged().pair, trust=Trust("ca", "no chain"))), True, "not trusted"),
    ("the handshake fails", staged(handshake="bad"), True, "a handshake with the new certificate fails: bad"),
    ("a CA certificate", staged(cert=leaf(serial=2, is_ca=True, not_after=LATER)), True, "a CA certificate"),
    ("no principal", staged(cert=leaf(serial=2, common_names=(), not_after=LATER)), True, "principal"),
    ("a SAN is missing", staged(cert=leaf(serial=2, ips=(), not_after=LATER)), True, "lacks the configured names"),
    ("no clientAuth", staged(cert=leaf(serial=2, eku=("serverAuth",), not_after=LATER)), True, "clientAuth"),
    ("weak", staged(cert=leaf(serial=2, key="rsa-1024", not_after=LATER)), True, "weak"),
    ("expired", staged(cert=leaf(serial=2, not_after=NOW)), True, "expired"),
    ("from the future", staged(cert=leaf(serial=2, not_before=NOW + DAY, not_after=LATER)), True, "not valid before"),
    ("hours are left", staged(cert=leaf(serial=2, not_after=NOW + DAY / 2)), True, "below the minimum"),
    (
        "no later than the live one",
        staged(cert=leaf(serial=2, not_after=NOW + 20 * DAY)),
        False,
        "not later than the live one",
    ),
    ("no later, but asked for", staged(cert=leaf(serial=2, not_after=NOW + 20 * DAY)), True, None),
    (
        "older, a restored backup",
        staged(cert=leaf(serial=2, not_after=NOW + 9 * DAY), asked=False),
        True,
        "not later than the live one",
    ),
]


@pytest.mark.parametrize(("label", "answer", "asked", "reason"), CHECKS, ids=[r[0] for r in CHECKS])
def test_pre_install_each_condition_refuses_by_itself(
    label: str, answer: Staged, reason: str | None, *, asked: bool
) -> None:
    """Each condition of the pre-install checks refuses by itself, in words that name it; a valid answer passes."""
    found = refusal(want(), answer, pair(), asked, NOW)
    assert (found is None) if reason is None else (found is not None and reason in found), (label, found)


BUNDLE_CHECKS = [
    ("a first bundle", staged("ca", VALID), None, None),
    ("leaves would break", staged("ca", VALID, breaks=("node",)), None, "would no longer verify"),
    ("one exists", staged("ca", VALID), pair("ca"), "never replaces"),
    ("no CA in it", staged("ca", leaf("ca", is_ca=False)), None, "no valid CA"),
    ("an expired CA", staged("ca", OVER), None, "no valid CA"),
]


@pytest.mark.parametrize(("label", "answer", "live", "reason"), BUNDLE_CHECKS, ids=[r[0] for r in BUNDLE_CHECKS])
def test_pre_install_bundle_only_if_missing_and_compatible(
    label: str, answer: Staged, live: Pair | None, reason: str | None
) -> None:
    """A missing trust bundle is made if it breaks nothing; an existing one is never replaced."""
    found = refusal(want("ca"), answer, live, asked=True, now=NOW)
    assert (found is None) if reason is None else (found is not None and reason in found), (label, found)


def test_rules_severities_are_in_the_catalogue() -> None:
    """The catalogue lists the severities of each finding."""
    found = [f for _, p, w, _ in ROWS for f in pair_findings(w, p, NOW)]
    found += [f for _, p, _ in BUNDLES for f in pair_findings(want("ca"), p, NOW)]
    assert [f for f in found if f.severity not in f.rule.severities or FINDINGS[f.code] is not f.rule] == []


def test_rules_findings_have_remedies() -> None:
    """Every finding about a pair has a remedy."""
    silent = [f for _, p, w, _ in ROWS for f in pair_findings(w, p, NOW) if not f.remedy]
    assert silent == []


def test_rules_tested_stems_are_names_of_cockroach() -> None:
    """The builder's stems are names that cockroach knows: no row tests an impossible file."""
    assert {name_of(s).stem for s in ("node", "ui", "client.a.b", "ca-client")} == {
        "node",
        "ui",
        "client.a.b",
        "ca-client",
    }
    assert timedelta(days=1) == DAY
