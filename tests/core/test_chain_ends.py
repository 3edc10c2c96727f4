"""An intermediate or a root that ends before the leaf: every date is the earliest of the chain."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from certagent.core.actions import Install, Issue, Plan, RejectStaged
from certagent.core.decide import decide
from certagent.core.facts import Authority, Pair, Request, Snapshot, Staged, Trust
from certagent.core.status import certs_dir
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, staged, want

RULES = policy(want("ca"), want())
CA = leaf("ca", not_after=NOW + 3000 * DAY)


def ending(cert: Any, ends: datetime | None, problem: str | None = None) -> Pair:
    """A pair whose chain ends with the CA `CN=between`."""
    return pair(cert=cert, trust=Trust("ca", problem, ends=ends, ends_by="CN=between" if ends else ""))


def live(ends: timedelta | None, age: timedelta = 10 * DAY, life: timedelta = 300 * DAY, **changes: Any) -> Snapshot:
    """A leaf of that age and lifetime, whose chain ends that long from now."""
    cert = leaf(not_before=NOW - age, not_after=NOW - age + life)
    problem = "the issuer CN=between expired" if ends is not None and ends < timedelta(0) else None
    return snapshot(pair("ca"), ending(cert, None if ends is None else NOW + ends, problem), **changes)


def plan(found: Snapshot) -> Plan:
    return decide(RULES, found, NOW)


def told(made: Plan, *codes: str) -> list[tuple[str, str]]:
    return [(f.code, f.severity) for f in made.findings if f.code in codes]


DATES = ("cert.expires-soon", "cert.outlives-ca", "renewal.overdue")
LIVES = [
    ("the leaf ends first", None, False, []),
    ("the chain ends in 90 of 100 days", 90 * DAY, False, [("cert.outlives-ca", "warning")]),
    ("two thirds of the chain's time are over", 4 * DAY, True, [("cert.expires-soon", "warning")]),
    ("5 % of it is left", 0.5 * DAY, True, [("cert.expires-soon", "critical"), ("renewal.overdue", "critical")]),
    ("it has ended", -1 * DAY, True, [("renewal.overdue", "critical")]),
]


@pytest.mark.parametrize(("label", "ends", "issues", "findings"), LIVES, ids=[r[0] for r in LIVES])
def test_chain_end_before_leaf_is_renewed_in_time(
    label: str, ends: timedelta | None, issues: bool, findings: list[tuple[str, str]]
) -> None:
    """An intermediate that ends before its leaf is renewed in time, and is a warning as long as there is time."""
    age = 30 * DAY if ends and ends < 5 * DAY else 10 * DAY
    made = plan(live(ends, age))
    assert issues == any(isinstance(a, Issue) for a in made.actions), label
    assert findings == told(made, *DATES)


def test_chain_end_counts_for_configured_durations() -> None:
    """`warn = "7d"` warns seven days before the first certificate of the chain ends."""
    rules = policy(want("ca"), want(warn=7 * DAY))
    for days, expected in ((6, ["cert.expires-soon"]), (8, ["cert.outlives-ca"])):
        made = decide(rules, live(days * DAY), NOW)
        assert expected == [f.code for f in made.findings if f.code in DATES]


def test_chain_end_is_shown_by_status() -> None:
    """`not_after` stays the leaf's own; `chain_ends` and `chain_ends_by` say what ends before it."""
    found = live(90 * DAY)
    row = next(f for f in certs_dir(RULES, found, plan(found), NOW)["files"] if f["name"] == "node")
    assert ("2027-09-10T12:00:00.000Z", "2027-02-22T12:00:00.000Z") == (row["not_after"], row["chain_ends"])
    assert row["chain_ends_by"] == "CN=between"
    assert row["renew_at"] < row["chain_ends"]
    plain = next(f for f in certs_dir(RULES, snapshot(), plan(snapshot()), NOW)["files"] if f["name"] == "node")
    assert (plain["chain_ends"], plain["chain_ends_by"]) == (plain["not_after"], None)


def answer(ends: timedelta | None, life: timedelta = 300 * DAY) -> Staged:
    made = staged()
    cert = leaf(serial=2, not_before=NOW, not_after=NOW + life)
    return replace(made, pair=ending(cert, None if ends is None else NOW + ends))


DUE = live(4 * DAY, 30 * DAY)
ANSWERS = [
    ("under a renewed CA", answer(None), DUE, "install"),
    ("under a CA that ends later", answer(90 * DAY), DUE, "install"),
    ("under the same CA", answer(4 * DAY), DUE, "reject"),
    ("that its CA outlives by an hour", answer(DAY / 24), DUE, "reject"),
    (
        "its CA ends before the live one does",
        answer(20 * DAY),
        snapshot(pair("ca"), ending(leaf(not_before=NOW - 60 * DAY, not_after=NOW + 25 * DAY), None)),
        "reject",
    ),
]


@pytest.mark.parametrize(("label", "staged_", "found", "expected"), ANSWERS, ids=[r[0] for r in ANSWERS])
def test_chain_end_counts_in_pre_install_checks(label: str, staged_: Staged, found: Snapshot, expected: str) -> None:
    """The remaining lifetime, and whether it ends later than the live one's, is the chain's end."""
    made = plan(replace(found, staged=(staged_,)))
    kinds = [
        "install" if isinstance(a, Install) else "reject" for a in made.actions if isinstance(a, Install | RejectStaged)
    ]
    assert [expected] == kinds, label


def test_chain_end_unchanged_answer_delays_next_request() -> None:
    """Only a rotation of the CA helps: the next request comes after a fifth of the remaining time, a day at least."""
    far = live(60 * DAY, 200 * DAY, 400 * DAY)
    for found, pause in ((far, 12 * DAY), (DUE, DAY)):
        ends = found.pairs[1].effective
        assert ends is not None
        made = plan(replace(found, staged=(answer(ends.not_after - NOW),)))
        rejected = [a for a in made.actions if isinstance(a, RejectStaged)]
        assert [NOW + pause] == [a.again_at for a in rejected]
        assert "its CA CN=between expires then" in rejected[0].reason


def test_chain_end_unchanged_answer_is_allowed_for_operator() -> None:
    """An operator who asks for a new key gets it, though it ends no later."""
    request = Request("renew", "node", NOW - timedelta(seconds=1))
    made = plan(replace(DUE, staged=(answer(4 * DAY),), requests=(request,)))
    assert any(isinstance(a, Install) for a in made.actions)


ROOTS = [
    ("the root is what ends", (leaf("ca", not_after=NOW + 4 * DAY),), False),
    ("another root of the CA lasts", (leaf("ca", not_after=NOW + 4 * DAY), CA), True),
    ("its roots are not known", (), True),
]


@pytest.mark.parametrize(("label", "roots", "asks"), ROOTS, ids=[r[0] for r in ROOTS])
def test_root_expiring_asks_no_ca(label: str, roots: tuple[Any, ...], asks: bool) -> None:
    """The CA's own certificate is what ends: its CA is not asked, and the finding says to rotate it."""
    made = plan(replace(DUE, authorities=(Authority("house", "est", roots),)))
    assert asks == any(isinstance(a, Issue) for a in made.actions), label
    found = [f for f in made.findings if f.code == "renewal.refused"]
    assert [not asks] == [bool(found)]
    if found:
        assert "renewal cannot help: the CA CN=node expires at" in found[0].message
        assert ("warning", "rotate the CA") == (found[0].severity, found[0].remedy[:13])


def test_leaf_clipped_by_ca_is_not_renewed_in_vain() -> None:
    """A CA that clips its leaves to its own end: the next would end with it as well, critical once 5 % is left."""
    root = leaf("ca", not_after=NOW + DAY)
    clipped = snapshot(pair("ca"), ending(leaf(not_before=NOW - 29 * DAY, not_after=NOW + DAY), None))
    made = plan(replace(clipped, authorities=(Authority("house", "local", (root,)),)))
    assert not any(isinstance(a, Issue) for a in made.actions)
    assert ("renewal.refused", "critical") in told(made, "renewal.refused")
    asked = replace(
        clipped, requests=(Request("renew", "node", NOW),), authorities=(Authority("house", "local", (root,)),)
    )
    assert any(isinstance(a, Issue) for a in plan(asked).actions)
