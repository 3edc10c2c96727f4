"""A directory that the agent may not change is one cause: what follows from it stands below it, or in its message."""

from dataclasses import replace

import pytest

from certagent.core.actions import Plan
from certagent.core.decide import decide
from certagent.core.facts import ObserveOnly, Pair, Snapshot, Why
from certagent.core.policy import Policy
from tests.core.building import DAY, NOW, leaf, name_of, pair, policy, snapshot, want

CHOWN = "chown cockroach /certs"
BLOCKED = ObserveOnly(Why.FORBIDDEN, "cannot use the staging area", "cockroach may not write /certs", CHOWN)
EXPIRED = pair(cert=leaf(not_after=NOW - DAY))
EMPTY = (Pair(name_of("ca")), Pair(name_of("node")))


def closed(found: Snapshot, only: ObserveOnly = BLOCKED, rules: Policy | None = None) -> Plan:
    directory = replace(found.directory, observe_only=only)
    return decide(rules or policy(), replace(found, directory=directory), NOW)


@pytest.mark.parametrize("why", [Why.FORBIDDEN, Why.READ_ONLY, Why.FULL, Why.UNUSABLE])
def test_prevented_missing_files_are_named_by_the_cause(why: Why) -> None:
    """A directory of another owner, outside the unit's ReadWritePaths, or on a full disk: one finding, critical."""
    made = closed(snapshot(*EMPTY), replace(BLOCKED, why=why))
    [cause] = [f for f in made.findings if f.severity != "info"]
    assert (cause.code, cause.severity, cause.remedy) == ("dir.foreign", "critical", CHOWN)
    assert cause.message.endswith("; therefore certagent does not create ca.crt, node.crt")


def test_prevented_renewal_has_the_remedy_of_its_cause() -> None:
    """An expired certificate stands below the cause, which is as severe; no other remedy is named."""
    made = closed(snapshot(pair("ca"), EXPIRED))
    first, second = (f for f in made.findings if f.severity == "critical")
    assert (first.code, second.code) == ("dir.foreign", "cert.expired")
    assert second.remedy == f"{CHOWN}; certagent then renews it"
    assert "create" not in first.message


def test_prevented_missing_key_is_named_by_the_cause() -> None:
    """The agent would request a new pair for it."""
    made = closed(snapshot(pair("ca"), replace(pair(), key=None)))
    assert [f.code for f in made.findings if f.severity == "critical"] == ["dir.foreign"]
    assert "does not create node.key" in made.findings[0].message


def test_prevented_leaves_what_has_another_cause() -> None:
    """What no authority issues, other files' faults, and a healthy directory are said as they are."""
    others = closed(snapshot(*EMPTY), rules=policy(want("ca", authorities=()), want(authorities=())))
    assert {"ca.missing", "cert.missing", "dir.foreign"} <= {f.code for f in others.findings}
    (healthy,) = [f for f in closed(snapshot()).findings if f.code == "dir.foreign"]
    assert (healthy.severity, healthy.remedy) == ("warning", CHOWN)
    wide = closed(snapshot(pair("ca"), pair(mode=0o644)))
    assert [(f.code, f.severity) for f in wide.findings if f.severity != "info"] == [
        ("key.mode", "critical"), ("dir.foreign", "warning"),
    ]  # fmt: skip


@pytest.mark.parametrize("why", [Why.KUBERNETES, Why.MOUNT, Why.ANOTHER_AGENT])
def test_prevented_is_not_what_others_manage(why: Why) -> None:
    """Where another tool or agent manages the files, what is missing is missing by its doing."""
    made = closed(snapshot(*EMPTY), ObserveOnly(why, "so it is"))
    assert {"ca.missing", "cert.missing", "dir.foreign"} <= {f.code for f in made.findings}
