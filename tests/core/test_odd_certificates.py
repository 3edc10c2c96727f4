"""What is decided about certificates that not every Go loads, or that only certagent cannot read."""

from dataclasses import replace

import pytest

from certagent.core.actions import Issue, Reload
from certagent.core.decide import decide
from certagent.core.facts import CertFile, LoaderFlags, Pair, Snapshot, Trust
from certagent.core.loading import start_problem, verdicts
from certagent.core.rules import refusal
from tests.core.building import DAY, NOW, file, leaf, pair, policy, process, served, snapshot, staged, want

CAVEAT = "Go from 1.23 on refuses a negative serial number"


def codes(seen: Snapshot) -> dict[str, str]:
    return {f.code: f.severity for f in decide(policy(), seen, NOW).findings}


def unread(stem: str) -> Pair:
    """A certificate that Go may load and certagent cannot read."""
    sentence = "Go loads a certificate in it that certagent cannot read"
    return replace(pair(stem), cert=CertFile(file(f"{stem}.crt", 0o644), "crt-odd", None, (), sentence, "unread"))


@pytest.mark.parametrize("stem", ["node", "ca"])
def test_certificate_live_with_caveat_is_only_a_warning(stem: str) -> None:
    """The running cockroach loads it: nothing is issued for it, nothing signalled, but an upgrade would fail."""
    odd = {
        "node": pair("node", leaf(caveat=CAVEAT)),
        "ca": pair("ca", leaf("ca", not_after=NOW + 3000 * DAY, caveat=CAVEAT)),
    }
    seen = snapshot(*(odd[s] if s == stem else pair(s) for s in ("ca", "node")))
    assert codes(seen).get("cert.nonstandard") == "warning"
    assert not any(isinstance(a, Issue) for a in decide(policy(), seen, NOW).actions)


def test_certificate_chain_with_caveat_is_a_warning() -> None:
    """Go refuses a whole file for one certificate in it."""
    found = pair("node")
    assert found.cert
    odd = replace(found, cert=replace(found.cert, chain=(leaf("ca", caveat=CAVEAT),)))
    assert codes(snapshot(pair("ca"), odd)).get("cert.nonstandard") == "warning"


def test_staged_certificate_with_caveat_is_refused() -> None:
    """A node that is upgraded, or of a newer version than its neighbours, would not start with it."""
    made = leaf("node", 2, not_before=NOW, not_after=NOW + 30 * DAY)
    assert refusal(want(), staged("node", made), pair("node"), True, NOW) is None
    assert refusal(want(), staged("node", replace(made, caveat=CAVEAT)), pair("node"), True, NOW) == CAVEAT


def test_staged_bundle_with_caveat_is_refused() -> None:
    """A first ca.crt with such a root would keep newer versions of cockroach from starting."""
    root = leaf("ca", not_after=NOW + 3000 * DAY)
    assert refusal(want("ca"), staged("ca", root), None, True, NOW) is None
    assert refusal(want("ca"), staged("ca", replace(root, caveat=CAVEAT)), None, True, NOW) == CAVEAT


def test_unread_pair_is_a_warning_and_never_reissued() -> None:
    """It may be valid: if cockroach may load what certagent cannot read, a re-issue would be a guess."""
    seen = snapshot(pair("ca"), unread("node"))
    assert codes(seen).get("cert.unread") == "warning"
    assert not any(isinstance(a, Issue) for a in decide(policy(), seen, NOW).actions)


@pytest.mark.parametrize("stem", ["client.root", "ui"])
def test_unread_pair_does_not_block_a_reload(stem: str) -> None:
    """A renewed node.crt is signalled although another pair cannot be read."""
    new = leaf("node", 2, not_before=NOW - DAY, not_after=NOW + 30 * DAY)
    seen = snapshot(pair("ca"), pair("node", new), unread(stem), processes=(process(),), served=(served(),))
    assert any(isinstance(a, Reload) for a in decide(policy(), seen, NOW).actions)


def test_unread_pair_does_not_stop_a_node_from_starting() -> None:
    """`check` says that cockroach may load it, not that a node would not start."""
    pairs = (pair("ca"), unread("node"))
    judged = verdicts(pairs, (), 999, LoaderFlags())
    assert (start_problem(judged, pairs), {v.accepted for v in judged}) == ("", {True})


def test_bundle_with_unread_certificate_is_a_warning() -> None:
    """The others verify as before; a leaf that only that one may verify is not called untrusted, nor re-issued."""
    bundle, node = pair("ca"), pair("node")
    assert bundle.cert
    odd = replace(bundle, cert=replace(bundle.cert, unread="Go loads a certificate in it that certagent cannot read"))
    unknown = replace(node, trust=Trust("ca", unread=True))
    found = decide(policy(), snapshot(odd, unknown), NOW)
    assert {f.code: f.severity for f in found.findings if f.file in {"ca.crt", "node.crt"}} == {
        "cert.unread": "warning"
    }
    assert not any(isinstance(a, Issue) for a in found.actions)


def test_certificate_with_caveat_does_not_block_reload() -> None:
    """The cockroach of this host loads it; one that refuses it keeps the loaded one."""
    new = leaf("node", 2, not_before=NOW - DAY, not_after=NOW + 30 * DAY, caveat=CAVEAT)
    seen = snapshot(pair("ca"), pair("node", new), processes=(process(),), served=(served(),))
    assert any(isinstance(a, Reload) for a in decide(policy(), seen, NOW).actions)
