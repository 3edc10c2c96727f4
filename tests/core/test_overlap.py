"""A root that the configuration pins is added to a bundle that lacks it, in front of what is there."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.core.actions import Install, Issue
from certagent.core.bundles import certificates
from certagent.core.decide import decide
from certagent.core.facts import Authority, Word
from certagent.core.predict import forecast, predict
from tests.core.building import DAY, NOW, pair, policy, snapshot, want
from tests.core.test_bundles import NEW, OLD, bundle

RULES = policy(want("ca", authorities=("first", "second")), want("node", authorities=("first", "second")))
HAS = Authority("first", "step", (OLD,))
PINS = Authority("first", "step", (), pins=(OLD.fingerprint, NEW.fingerprint))


def issues(*authorities: Authority, **changes: Any) -> list[Issue]:
    """What is asked for a bundle of the old root."""
    found = snapshot(bundle(OLD), pair("node"), authorities=authorities, **changes)
    return [a for a in decide(RULES, found, NOW).actions if isinstance(a, Issue)]


@pytest.mark.parametrize(
    ("authorities", "asked", "named"),
    [
        ((HAS,), "", ""),
        ((replace(HAS, roots=(OLD, NEW)),), "first", "CN=new"),
        ((PINS,), "first", f"SHA-256 {NEW.fingerprint}"),
        ((replace(PINS, roots=(OLD, NEW)),), "first", "CN=new"),
        ((HAS, Authority("second", "vault", (NEW,))), "second", "CN=new"),
        ((HAS, Authority("third", "vault", (NEW,))), "", ""),
        ((replace(HAS, kind="local", roots=(NEW,)),), "", ""),
        ((replace(HAS, roots=(NEW,), unreadable="hung"),), "", ""),
        ((replace(HAS, roots=(replace(NEW, not_after=NOW),), pins=(NEW.fingerprint,)),), "", ""),
        ((replace(HAS, roots=(OLD, replace(NEW, is_ca=False))),), "", ""),
    ],
    ids=["there", "file", "pin", "both", "fallback", "elsewhere", "embedded", "unread", "ended", "no CA"],
)
def test_pinned_root_that_a_bundle_lacks_is_added(authorities: tuple[Authority, ...], asked: str, named: str) -> None:
    """Its authority alone is asked, and what is there comes along; no CA is created for it."""
    found = issues(*authorities)
    assert [a.authority for a in found] == [asked] * bool(asked)
    for action in found:
        assert (action.subject, action.carried_over_bundle, action.first) == ("ca", "ca", False)
        assert action.reason == f"ca.crt lacks a pinned root of authority '{asked}': {named}"


@pytest.mark.parametrize("kind", ["pause", "abort", "force"])
def test_stopped_rotation_adds_no_root(kind: Any) -> None:
    """A person said to wait, or to go back; for this bundle."""
    word = Word(kind=kind, bundle="ca", root=NEW.spki, at=NOW)
    assert len(issues(PINS, words=(word,))) == (kind == "force")
    assert len(issues(PINS, words=(replace(word, bundle="ca-client"),))) == 1


@pytest.mark.parametrize("known", [replace(HAS, roots=(NEW,)), PINS], ids=["file", "pins"])
def test_added_root_is_installed_once(known: Authority) -> None:
    """New and old, the new one first; nothing is left to do then."""
    found = snapshot(bundle(OLD), pair("node"), authorities=(known,))
    steps = [type(a) for a in forecast(RULES, found, NOW) if isinstance(a, Issue | Install)]
    assert steps == [Issue, Install]
    for action in issues(known):
        found = predict(found, action, NOW)
    for action in [a for a in decide(RULES, found, NOW).actions if isinstance(a, Install)]:
        found = predict(found, action, NOW + DAY / 100)
    assert [ca.fingerprint for ca in certificates(found.pair("ca"))] == [NEW.fingerprint, OLD.fingerprint]
