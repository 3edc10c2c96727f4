"""Names beside the configured ones: those that the CA added, and those that somebody put there before."""

from dataclasses import replace

import pytest

from certagent.core.actions import Issue, Plan
from certagent.core.decide import decide
from certagent.core.facts import Adopted, Leaf, Snapshot
from certagent.core.policy import Want
from certagent.core.rules import refusal
from tests.core.building import DAY, NOW, SANS, leaf, pair, policy, snapshot, staged, want

FRESH = leaf(dns=(SANS[0], "added"), not_before=NOW - DAY, not_after=NOW + 29 * DAY)
DUE = leaf(dns=(SANS[0], "added"), not_after=NOW + DAY)


def plan(found: Snapshot, wanted: Want) -> Plan:
    return decide(policy(want("ca"), wanted), found, NOW)


def with_live(live: Leaf, asked: Want | None) -> Snapshot:
    """A directory with that node; `asked` is the want by which we asked for it, None where we did not."""
    found = snapshot(pair("ca"), pair(cert=live))
    if asked is None:
        return replace(found, issued=frozenset())
    adopted = (Adopted("node", live.fingerprint, asked.digest),)
    return replace(found, issued=frozenset({live.fingerprint}), adopted=adopted)


@pytest.mark.parametrize("drop", [False, True])
def test_name_added_by_ca_blocks_nothing(drop: bool) -> None:
    """A name that a CA adds was never configured: no finding, nothing blocked, no repeated requests."""
    wanted = want(drop_names=drop)
    [made] = [a for a in plan(with_live(DUE, wanted), wanted).actions if isinstance(a, Issue)]
    assert made.names == SANS
    quiet = plan(with_live(FRESH, wanted), wanted)
    assert [f.code for f in quiet.findings] == ["process.none"]
    assert not [a for a in quiet.actions if isinstance(a, Issue)]
    assert refusal(wanted, staged(cert=replace(FRESH, serial=2, not_after=NOW + 30 * DAY)), None, True, NOW) is None


def test_name_requested_before_is_blocked() -> None:
    """Requested by an earlier configuration: removing it takes drop_names."""
    before = want(names=(*SANS, "added"))
    held = plan(with_live(DUE, before), want())
    assert not [a for a in held.actions if isinstance(a, Issue)]
    assert [f.severity for f in held.findings if f.code == "renewal.refused"] == ["critical"]
    dropped = plan(with_live(FRESH, before), want(drop_names=True))
    assert "no longer configured" in next(a for a in dropped.actions if isinstance(a, Issue)).reason


@pytest.mark.parametrize("asked", [None, want(names=(*SANS, "added"))])
def test_name_removal_that_will_block_warns_from_first_day(asked: Want | None) -> None:
    """A warning from the first day on, with the name and the moment; not when it is too late to act."""
    [found] = [f for f in plan(with_live(FRESH, asked), want()).findings if f.code == "renewal.refused"]
    assert (found.severity, found.file) == ("warning", "node.crt")
    assert "will be blocked: the live certificate has names that are not configured (added)" in found.message
