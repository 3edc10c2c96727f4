"""Which rules of a rotation are safe: every state of a small model is visited, for each rule that comes to mind."""

from dataclasses import replace

import pytest

from tests.core.rotation.model import Rule, explore

ALL = Rule()
NOW = replace(ALL, recall=False, cuts=True)
THREE = replace(NOW, hosts=3, away=3)
UNSAFE = {  # the rule, and how many steps lead to the first failure
    "the CA's word alone": (replace(THREE, leaf="free", prune="never"), 2),
    "the own bundle alone, as certagent 1.0": (replace(THREE, leaf="own", prune="never"), 3),
    "a minimum age alone": (replace(THREE, leaf="aged", prune="aged"), 4),
    "a bundle that is replaced": (replace(THREE, overlap=False), 1),
    "every host that can be reached": (replace(THREE, leaf="reachable", prune="reachable"), 5),
    "all for the leaf, those that can be reached for the prune": (replace(THREE, prune="reachable"), 8),
    "all for the leaf, time for the prune": (replace(THREE, prune="aged"), 7),
    "an abort without proof": (replace(ALL, abort="blind"), 7),
    "an abort with a proof that may be old": (replace(ALL, abort="remembered"), 8),
    "a rollback without proof": (replace(NOW, rollback="blind"), 7),
    "a forgotten host that returns as it was": (replace(ALL, forget="as it was"), 6),
    "a forgotten host that returns with its bundle first": (replace(ALL, forget="bundle first"), 7),
    "an outside client and no word": (replace(ALL, client=True, words=frozenset()), 5),
    "an outside client and a word before the prune only": (
        replace(ALL, client=True, words=frozenset({"present"})),
        5,
    ),
    "an outside client and a word before the first leaf only": (
        replace(ALL, client=True, words=frozenset({"trust"})),
        10,
    ),
}
SAFE = {
    "all listed members, now": THREE,
    "all listed members, without a prune": replace(THREE, prune="never"),
    "all listed members, seen at any time": replace(ALL, cuts=True, away=2),
    "the same of three hosts": replace(ALL, hosts=3, cuts=True, away=3),
    "an abort with a proof of the moment": replace(NOW, abort="now"),
    "an abort of the leaves only, which keeps both roots": replace(ALL, abort="leaves only"),
    "a rollback with a proof of the moment": replace(NOW, rollback="now"),
    "a forgotten host that returns with bundle and leaf first": replace(ALL, forget="bundle and leaf first"),
    "an outside client and both words": replace(ALL, client=True),
}


@pytest.mark.parametrize(("rule", "steps"), UNSAFE.values(), ids=UNSAFE)
def test_naive_rule_cuts_hosts_off(rule: Rule, steps: int) -> None:
    """The explorer finds the shortest way to two hosts that reach each other and do not connect."""
    found = explore(rule)
    assert len(found.failure) == steps, found


@pytest.mark.parametrize("rule", SAFE.values(), ids=SAFE)
def test_rule_of_all_members_is_safe_and_ends(rule: Rule) -> None:
    """No state fails, and from each one the rotation can end by itself."""
    found = explore(rule)
    assert (found.safe, found.live) == (True, True), found
    assert found.states >= 70
