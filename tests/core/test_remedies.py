"""Remedies are true where they are read: who is told to renew, and whether anything would listen."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.core.decide import decide
from certagent.core.facts import Snapshot
from certagent.core.findings import ELSE
from certagent.core.status import document
from certagent.core.view import Planned
from tests.core.building import DAY, NOW, VOLUME, leaf, pair, policy, snapshot, want

RENEW = "certagent renew"
EXPIRED = snapshot(pair("ca"), pair(cert=leaf(not_before=NOW - 9 * DAY, not_after=NOW - DAY)))
NAMELESS = snapshot(pair("ca"), pair(cert=leaf(dns=(), ips=())))
MISSING = snapshot(pair("ca"))
HALF = snapshot(pair("ca"), replace(pair(), cert=None))


def remedies(found: Snapshot, daemon: dict[str, Any] | None, *authorities: str, **of: Any) -> list[str]:
    rules = policy(want("ca", authorities=()), want(authorities=authorities, **of))
    (told,) = document([Planned(policy=rules, snapshot=found, plan=decide(rules, found, NOW))], NOW, daemon)[
        "certs_dirs"
    ]
    return [f["remedy"] for f in told["findings"] if f["file"] in {"node.crt", "node.key"} and f["severity"] != "info"]


@pytest.mark.parametrize("found", [EXPIRED, NAMELESS, MISSING, HALF])
def test_remedy_renewal_by_authority_agent_or_external_tool(found: Snapshot) -> None:
    """With an authority and an agent the command; without an agent, start it first; else the external tool."""
    told = remedies(found, {"pid": 1}, "house")
    assert [r for r in told if RENEW in r]
    assert not [r for r in told if ELSE in r]
    assert [r for r in remedies(found, None, "house") if RENEW in r and not r.endswith(ELSE)] == []
    by_hand = remedies(found, {"pid": 1})
    assert by_hand
    assert not [r for r in by_hand if RENEW in r]


def test_remedy_externally_managed_directory() -> None:
    """A volume of Kubernetes: no command of ours changes its files."""
    found = replace(EXPIRED, directory=replace(EXPIRED.directory, observe_only=VOLUME))
    told = remedies(found, {"pid": 1}, "house")
    assert told
    assert not [r for r in told if RENEW in r]


def test_remedy_quotes_paths_for_the_shell() -> None:
    """A command that is shown can be pasted, whatever the directory is called."""
    odd = "/srv/we ird; x"
    directory = replace(snapshot().directory, path=odd, mode=0o777, uid=12345)
    theirs = pair(mode=0o644)
    assert theirs.key is not None
    theirs = replace(theirs, key=replace(theirs.key, file=replace(theirs.key.file, uid=12345)))
    for seen in (directory, replace(directory, exists=False)):
        plan = decide(replace(policy(), path=odd, enforce="report"), snapshot(pair("ca"), theirs, directory=seen), NOW)
        commands = [f.remedy for f in plan.findings if f.remedy.startswith(("chmod", "chown", "install"))]
        assert commands
        assert all(f"'{odd}" in command for command in commands), commands
