"""What is known of a pair's `crdb://` URIs outlives its files: whatever is lost, the next one is valid for no more."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.core.actions import Adopt, Install, Issue, RecordScope, RejectCommand, RejectStaged, Rollback
from certagent.core.decide import decide
from certagent.core.facts import CertFile, KeyFile, Leaf, Loaded, Pair, Request, Snapshot
from certagent.core.policy import Want
from certagent.core.predict import predict
from tests.core.building import DAY, NOW, VOLUME, file, generation, leaf, name_of, pair, policy, snapshot, staged, want

ROOT_1, ROOT_10 = "crdb://tenant/1/user/root", "crdb://tenant/10/user/root"
ROOT = want("client.root")
DUE = {"not_before": NOW - 25 * DAY, "not_after": NOW + 5 * DAY}
STEM = "client.root"


def limited(*uris: str, serial: int = 1, **changes: Any) -> Leaf:
    return leaf(STEM, serial, uris=uris, **changes)


def known(*pairs: Pair, **changes: Any) -> Snapshot:
    return snapshot(pair("ca"), *pairs, **changes)


def asked(seen: Snapshot, wanted: Want = ROOT) -> list[tuple[str, ...]]:
    return [a.names for a in decide(policy(want("ca"), wanted), seen, NOW).actions if isinstance(a, Issue)]


def garbage(*, key: bool) -> Pair:
    """A certificate that is not one; with `key` its key is overwritten, too."""
    cert = CertFile(file(f"{STEM}.crt"), "x", None, problem="garbage", problem_kind="unparsable")
    bad = KeyFile(file(f"{STEM}.key"), "y", None, problem="garbage", problem_kind="unparsable")
    return replace(pair(STEM), cert=cert, trust=None, **({"key": bad} if key else {}))


LOST: dict[str, tuple[Pair, ...]] = {
    "deleted": (),
    "key alone left": (replace(pair(STEM), cert=None),),
    "certificate garbage": (garbage(key=False),),
    "both garbage": (garbage(key=True),),
}
BEFORE = generation(STEM, uris=(ROOT_1,))
LOADED = Loaded("m", (pair(STEM, limited(ROOT_1)),))
WITNESSES: dict[str, dict[str, Any]] = {
    "the ledger": {"scopes": {STEM: (ROOT_1,)}},
    "the ledger, older ones disagree": {
        "scopes": {STEM: (ROOT_1,)},
        "generations": (generation(STEM, uris=(ROOT_10,)), generation(STEM, 2)),
    },
    "an earlier generation": {"generations": (BEFORE,)},
    "an earlier generation, the newest is unreadable": {
        "generations": (BEFORE, replace(generation(STEM, 2), pair=garbage(key=True)))
    },
    "what was loaded": {"loaded": (Loaded("older", (pair(STEM, limited(ROOT_10)),)), LOADED, Loaded("newest"))},
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
@pytest.mark.parametrize("witness", WITNESSES.values(), ids=WITNESSES)
def test_lost_pair_is_replaced_with_its_limits(witness: dict[str, Any], lost: tuple[Pair, ...]) -> None:
    """A pair that was limited to tenants is asked for with the same limits, wherever they are known from."""
    assert asked(known(*lost, **witness)) == [(ROOT_1,)]


def test_lost_pair_of_which_nothing_is_known_is_as_configured() -> None:
    """The configuration decides; without `uris` the pair is for every tenant."""
    assert asked(known()) == [()]
    assert asked(known(), replace(ROOT, uris=(ROOT_1,))) == [(ROOT_1,)]


@pytest.mark.parametrize("uris", [(), (ROOT_10,), (ROOT_1, ROOT_10)])
def test_configured_uris_replace_known_limits(uris: tuple[str, ...]) -> None:
    """Also by none at all, which makes the pair valid for every tenant: then a person has said so."""
    wanted = replace(ROOT, uris=uris)
    assert asked(known(scopes={STEM: (ROOT_1,)}), wanted) == [uris]
    assert asked(known(pair(STEM, limited(ROOT_1, **DUE))), wanted) == [uris]


def test_configured_uris_that_differ_are_asked_for_immediately() -> None:
    """As any other change of the configuration; the answer must have them, and no others of the scheme."""
    wanted = replace(ROOT, uris=(ROOT_10,))
    seen = known(pair(STEM, limited(ROOT_1)))
    plan = decide(policy(want("ca"), wanted), seen, NOW)
    assert {f.code for f in plan.findings if f.severity != "info"} == {"cert.san"}
    assert asked(seen, wanted) == [(ROOT_10,)]
    for answer, installed in (((ROOT_10,), True), ((), False), ((ROOT_10, ROOT_1), False)):
        after = replace(seen, staged=(staged(STEM, limited(*answer, serial=2, not_after=NOW + 30 * DAY)),))
        actions = decide(policy(want("ca"), wanted), after, NOW).actions
        assert installed == any(isinstance(a, Install) for a in actions), answer


def test_configured_uris_of_a_change_alone_are_part_of_the_wish() -> None:
    """The digest of a want without the setting is what it was, so that an update of certagent renews nothing."""
    assert ROOT.digest == replace(ROOT, uris=None).digest
    assert len({ROOT.digest, replace(ROOT, uris=()).digest, replace(ROOT, uris=(ROOT_1,)).digest}) == 3


def test_configured_uris_of_another_user_ask_no_ca() -> None:
    """Servers would refuse the certificate, so the pre-install checks would."""
    plan = decide(policy(want("ca"), replace(ROOT, uris=("crdb://tenant/1/user/app",))), known(), NOW)
    assert not [a for a in plan.actions if isinstance(a, Issue)]
    assert any("`uris` asks for is valid for" in f.message for f in plan.findings if f.code == "renewal.refused")


def test_lost_limits_that_servers_refuse_block_the_renewal() -> None:
    """A pair for tenant 10 alone is no use to the system tenant; it is not made valid for all tenants instead."""
    plan = decide(policy(want("ca"), ROOT), known(scopes={STEM: (ROOT_10,)}), NOW)
    assert not [a for a in plan.actions if isinstance(a, Issue)]
    found = [f for f in plan.findings if f.code == "renewal.refused"]
    assert "the previous certificate is valid for 'root' in tenant 10 only" in found[0].message
    assert "[] for every tenant" in found[0].remedy


ANSWERS = [((ROOT_1,), True), (("CRDB://tenant/01/user/root",), True), ((), False), ((ROOT_1, ROOT_10), False)]


@pytest.mark.parametrize(("answer", "installed"), ANSWERS)
def test_answer_for_lost_pair_has_its_limits(answer: tuple[str, ...], installed: bool) -> None:
    """A CA that leaves the URI out, or adds another tenant's, is refused although there is no live certificate."""
    seen = known(scopes={STEM: (ROOT_1,)}, staged=(staged(STEM, limited(*answer, serial=2)),))
    actions = decide(policy(want("ca"), ROOT), seen, NOW).actions
    assert installed == any(isinstance(a, Install) for a in actions)
    assert installed or any("URI SAN" in a.reason for a in actions if isinstance(a, RejectStaged))


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_lost_pair_is_not_rolled_back_to_one_for_every_tenant(lost: tuple[Pair, ...]) -> None:
    """The generation before the pair was limited; that of the limited pair may be restored."""
    request = Request("rollback", STEM, NOW)
    live = lost or (replace(pair(STEM), cert=None, key=None),)
    for before, allowed in ((generation(STEM), False), (BEFORE, True)):
        seen = known(*live, scopes={STEM: (ROOT_1,)}, generations=(before,), requests=(request,))
        actions = decide(policy(want("ca"), ROOT), seen, NOW).actions
        assert allowed == any(isinstance(a, Rollback) for a in actions)


def by_hand(*uris: str, **changes: Any) -> Snapshot:
    """A pair that somebody put in the place of one for tenant 1."""
    return known(pair(STEM, limited(*uris, serial=5, **changes)), scopes={STEM: (ROOT_1,)}, issued=frozenset())


@pytest.mark.parametrize("uris", [(), (ROOT_1, ROOT_10)])
def test_wider_pair_by_hand_is_neither_adopted_nor_renewed(uris: tuple[str, ...]) -> None:
    """A warning from the first day names the setting; the record stays; when it is due, the renewal is blocked."""
    plan = decide(policy(want("ca"), ROOT), by_hand(*uris), NOW)
    assert not [a for a in plan.actions if isinstance(a, Adopt | RecordScope)]
    found = [f for f in plan.findings if f.code == "renewal.refused"]
    assert [f.severity for f in found] == ["warning"]
    assert f"for {ROOT_1} only" in found[0].message
    assert "set `uris`" in found[0].remedy
    request = Request("renew", STEM, NOW)
    for seen in (by_hand(*uris, **DUE), replace(by_hand(*uris), requests=(request,))):
        plan = decide(policy(want("ca"), ROOT), seen, NOW)
        assert asked(seen) == []
        assert [f.severity for f in plan.findings if f.code == "renewal.refused"] == ["critical"]
    assert [a.stem for a in plan.actions if isinstance(a, RejectCommand)] == [STEM]


def test_wider_pair_by_hand_is_accepted_by_the_setting() -> None:
    """With `uris = []` it is adopted and renewed as it is, and recorded."""
    wanted = replace(ROOT, uris=())
    actions = decide(policy(want("ca"), wanted), by_hand(), NOW).actions
    assert [type(a) for a in actions] == [RecordScope, Adopt]
    assert asked(by_hand(**DUE), wanted) == [()]


def test_wider_pair_by_hand_without_its_key_is_replaced_by_a_limited_one() -> None:
    """A half pair is nobody's wish: it is unusable, and the next one has the known limits."""
    live = replace(pair(STEM, limited(serial=5)), key=None)
    assert asked(known(live, scopes={STEM: (ROOT_1,)}, issued=frozenset())) == [(ROOT_1,)]


def test_wider_pair_of_another_tool_is_its_own_matter() -> None:
    """Where certagent issues nothing, the other tool decides, and the record follows."""
    seen = by_hand()
    volume = replace(seen, directory=replace(seen.directory, observe_only=VOLUME))
    plan = decide(policy(want("ca"), ROOT), volume, NOW)
    assert [a.uris for a in plan.actions if isinstance(a, RecordScope)] == [()]
    assert not [f for f in plan.findings if f.code == "renewal.refused"]


def test_narrower_pair_by_hand_is_adopted_and_recorded() -> None:
    """The next pair is limited as it is."""
    seen = known(pair(STEM, limited(ROOT_1, serial=5)), scopes={STEM: (ROOT_1, ROOT_10)}, issued=frozenset())
    rule = policy(want("ca"), ROOT)
    plan = decide(rule, seen, NOW)
    assert [a.uris for a in plan.actions if isinstance(a, RecordScope)] == [(ROOT_1,)]
    for action in plan.actions:
        seen = predict(seen, action, NOW)
    assert decide(rule, seen, NOW).actions == ()


def test_limits_are_recorded_of_usable_pairs_alone() -> None:
    """Once; nothing is written for pairs without such URIs, nor for half pairs."""
    live = pair(STEM, limited(ROOT_1))
    rule = policy(want("ca"), ROOT)
    recorded = [a for a in decide(rule, known(live), NOW).actions if isinstance(a, RecordScope)]
    assert [(a.stem, a.uris) for a in recorded] == [(STEM, (ROOT_1,))]
    for quiet in (
        known(live, scopes={STEM: (ROOT_1,)}),
        known(pair(STEM)),
        known(replace(live, key=pair(STEM, limited(serial=9)).key)),
    ):
        assert not [a for a in decide(rule, quiet, NOW).actions if isinstance(a, RecordScope)]


def test_limits_of_a_pair_that_certagent_issued_are_its_own() -> None:
    """An older version issued it, and nothing was recorded: an earlier generation does not contradict it."""
    assert asked(known(pair(STEM, limited(**DUE)), generations=(BEFORE,))) == [()]
    assert name_of(STEM).subject == "root"


def test_configured_tenant_pair_may_be_rolled_back() -> None:
    """The configuration says which tenants' servers the pair is for: its generations are judged by that."""
    wanted = replace(ROOT, uris=(ROOT_10,))
    request = Request("rollback", STEM, NOW)
    for allowed, before in ((True, generation(STEM, uris=(ROOT_10,))), (False, generation(STEM, uris=(ROOT_1,)))):
        seen = known(pair(STEM, limited(ROOT_10)), generations=(before,), requests=(request,))
        actions = decide(policy(want("ca"), wanted), seen, NOW).actions
        assert allowed == any(isinstance(a, Rollback) for a in actions)
