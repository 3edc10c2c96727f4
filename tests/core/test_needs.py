"""Who needs a CA of a trust bundle: what was seen, and who was not seen."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.core.actions import Install, RejectStaged
from certagent.core.decide import decide
from certagent.core.facts import Authority, Loaded, Look, Members, Pair, Snapshot, Trust, Word
from certagent.core.needs import OUTSIDE, PEERS, Pruning, kept_for, needs, pruning, unproven
from certagent.core.policy import RotationRule
from certagent.core.view import View
from tests.core.building import DAY, NOW, leaf, pair, policy, process, snapshot, want
from tests.core.test_bundles import NEW, OLD, bundle, waiting

ALONE = RotationRule(peers=(), outside_clients=False)
PRESENT = Word(kind="clients-present", bundle="ca", root=NEW.spki, at=NOW)


def node(*anchors: str, stem: str = "node", bundle: str = "ca") -> Pair:
    """A live pair that these CAs verify."""
    return replace(pair(stem, leaf(stem, 5)), trust=Trust(bundle, None, anchors))


def look(address: str, *anchors: str, age: int = 1) -> Look:
    return Look(
        address=address,
        at=NOW - age * DAY,
        stem="node",
        offered="x",
        outcome="accepted",
        served="y" if anchors else "",
        anchors=anchors,
    )


def view(*pairs: Pair, rule: RotationRule = ALONE, **known: Any) -> View:
    found = snapshot(*pairs, **{"authorities": (), **known})
    return View(policy=policy(want("ca"), want("node"), rotation=rule), snapshot=found, now=NOW)


def pruned(seen: View) -> Pruning:
    return pruning(seen, "ca")


def test_needed_ca_stays_and_the_former_goes() -> None:
    """What our own pairs lead to stays. Of a live pair that has ended nothing is needed."""
    seen = view(bundle(NEW, OLD), node(NEW.spki))
    assert (pruned(seen).kept, pruned(seen).removed, pruned(seen).waits) == ((NEW,), (OLD,), ())
    both = view(bundle(NEW, OLD), node(NEW.spki), node(OLD.spki, stem="client.root"))
    assert pruned(both).kept == (NEW, OLD)
    ended = replace(
        node(OLD.spki, stem="client.root"), cert=pair("client.root", leaf("client.root", not_after=NOW)).cert
    )
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), ended)).kept == (NEW,)


def test_next_root_stays_though_nobody_needs_it_yet() -> None:
    """Behind or in front of the one in use: it is newer. One that has ended goes wherever it stands."""
    for order in ((NEW, OLD), (OLD, NEW)):
        assert pruned(view(bundle(*order), node(OLD.spki))).removed == ()
    ended = replace(NEW, not_after=NOW)
    assert pruned(view(bundle(ended, OLD), node(OLD.spki), rule=RotationRule())).removed == (ended,)
    assert pruned(view(bundle(ended, OLD), node(OLD.spki), rule=RotationRule())).waits == ()


def test_added_root_that_is_older_stays() -> None:
    """A company's root may have been there for years: the agent added it in front of those that are used."""
    about = (bundle(OLD, NEW), node(NEW.spki))
    assert pruned(view(*about, issued=frozenset({OLD.fingerprint}))).removed == ()
    assert pruned(view(*about, issued=frozenset())).removed == (OLD,)
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), issued=frozenset({OLD.fingerprint}))).removed == (OLD,)


def test_root_of_an_aborted_rotation_goes() -> None:
    """Nobody needs it, and a person said that it is not the next one; the last CA of a bundle never goes."""
    abort = Word(kind="abort", bundle="ca", root=NEW.spki, at=NOW)
    assert pruned(view(bundle(NEW, OLD), node(OLD.spki), words=(abort,))).removed == (NEW,)
    assert pruned(view(bundle(NEW, OLD), node(OLD.spki), words=(replace(abort, root=OLD.spki),))).removed == ()
    assert pruned(view(bundle(NEW), words=(abort,))).removed == ()


def test_of_two_cas_that_suffice_the_first_stays() -> None:
    """A chain that is cross-signed leads to both roots."""
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki, OLD.spki))).kept == (NEW,)


def test_pair_whose_chain_was_not_examined_keeps_its_issuer() -> None:
    """Of a console's pair only the issuer's name is known, of a bundle of another kind nothing."""
    console = replace(pair("ui", leaf("ui", issuer="CN=old")), trust=Trust("ca"))
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), console)).kept == (NEW, OLD)
    other = replace(console, trust=Trust("ca-ui"))
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), other)).kept == (NEW,)


def test_what_a_process_has_loaded_is_needed() -> None:
    """It serves the former pair until it is reloaded; without a process nobody does."""
    loaded = Loaded("m", (replace(node(OLD.spki), cert=pair("node", leaf("node", 4)).cert),))
    known: dict[str, Any] = {"loaded": (loaded,)}
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), processes=(process(),), **known)).kept == (NEW, OLD)
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), **known)).kept == (NEW,)


def test_root_of_an_authority_is_needed() -> None:
    """The next certificate comes from it; of an authority that no file of this directory uses nothing is."""
    used = Authority("house", "vault", roots=(OLD,))
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), authorities=(used,))).kept == (NEW, OLD)
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), authorities=(replace(used, name="other"),))).kept == (NEW,)
    strange = replace(used, roots=(replace(OLD, spki="strange"),))
    assert pruned(view(bundle(NEW, OLD), node(NEW.spki), authorities=(strange,))).kept == (NEW,)
    assert [n.by for n in needs(view(bundle(NEW, OLD), node(NEW.spki), authorities=(used,)), "ca")] == [
        ("node.crt",),
        ("authority 'house'",),
    ]


MEMBERS = Members(source="peers", listed=("a:1", "b:1"))
FLEET = RotationRule(outside_clients=False)


@pytest.mark.parametrize(
    ("members", "waits"),
    [
        (Members(), (PEERS,)),
        (Members(problem="peers.txt cannot be read"), ("the other nodes: peers.txt cannot be read",)),
        (MEMBERS, ("a:1", "b:1")),
        (replace(MEMBERS, looks=(look("a:1", NEW.spki), look("b:1"))), ("b:1",)),
        (replace(MEMBERS, looks=(look("a:1", NEW.spki), look("b:1", "strange"))), ("b:1",)),
        (replace(MEMBERS, looks=(look("a:1", NEW.spki), look("b:1", NEW.spki), look("gone:1", OLD.spki))), ()),
        (replace(MEMBERS, looks=(look("a:1", NEW.spki), look("b:1", NEW.spki)), live=3), ()),
        (replace(MEMBERS, looks=(look("a:1", NEW.spki), look("b:1", NEW.spki)), live=4), ("1 live nodes that are",)),
        (replace(MEMBERS, looks=(look("a:1", OLD.spki, age=2), look("a:1", NEW.spki), look("b:1", NEW.spki))), ()),
    ],
    ids=["unknown", "unread", "unseen", "one silent", "one of another CA", "all", "complete", "incomplete", "newest"],
)
def test_members_that_were_not_seen_keep_the_former_ca(members: Members, waits: tuple[str, ...]) -> None:
    """Each listed member was seen to serve a chain of a CA that stays, and the list is complete; else nothing goes."""
    found = pruned(view(bundle(NEW, OLD), node(NEW.spki), rule=FLEET, members=members))
    assert [said[: len(expected)] for said, expected in zip(found.waits, waits, strict=True)] == list(waits)


def test_member_that_serves_the_former_ca_keeps_it() -> None:
    """It is needed, and `show` says by whom."""
    members = replace(MEMBERS, looks=(look("a:1", NEW.spki), look("b:1", OLD.spki)))
    seen = view(bundle(NEW, OLD), node(NEW.spki), rule=FLEET, members=members)
    assert pruned(seen).kept == (NEW, OLD)
    assert kept_for(seen, "ca") == ("CN=new is needed by node.crt, a:1", "CN=old is needed by b:1")
    assert [(n.ca, n.by, n.unknown) for n in needs(seen, "ca")] == [
        (NEW, ("node.crt", "a:1"), ()),
        (OLD, ("b:1",), ()),
    ]


def test_clients_of_other_hosts_need_the_word_of_a_person() -> None:
    """For this bundle, and for a root that stays; none where no client of another host connects."""
    rule = RotationRule(peers=())
    about = (bundle(NEW, OLD), node(NEW.spki))
    assert pruned(view(*about, rule=rule)).waits == (OUTSIDE,)
    assert pruned(view(*about, rule=rule, words=(replace(PRESENT, root=OLD.spki),))).waits == (OUTSIDE,)
    assert pruned(view(*about, rule=rule, words=(replace(PRESENT, bundle="ca-client"),))).waits == (OUTSIDE,)
    assert pruned(view(*about, rule=rule, words=(PRESENT,))).waits == ()
    split = replace(bundle(NEW, OLD), name=pair("ca-client").name)
    assert pruning(view(*about, split, rule=rule), "ca").waits == ()
    assert pruning(view(*about, split, rule=rule), "ca-client").removed == ()  # nothing that it verifies was seen
    client = node(NEW.spki, stem="client.root", bundle="ca-client")
    assert pruning(view(*about, split, client, rule=rule), "ca-client").waits == (OUTSIDE,)
    assert pruning(view(*about, rule=rule), "ca-client").kept == ()


def acts(seen: View, found: Snapshot) -> list[object]:
    return [a for a in decide(seen.policy, found, NOW).actions if isinstance(a, Install | RejectStaged)]


def test_staged_bundle_that_drops_a_needed_ca_is_refused() -> None:
    """Whoever staged it: the proof is asked for again when it is installed."""
    seen = view(bundle(NEW, OLD), node(NEW.spki), rule=RotationRule(peers=()))
    narrow = waiting(NEW)
    assert unproven(seen, narrow, bundle(NEW, OLD)) == OUTSIDE
    assert unproven(seen, waiting(NEW, OLD), bundle(OLD)) is None
    assert unproven(seen, waiting(NEW), bundle(OLD)) is None  # bundles.replacing says that
    needed = view(bundle(NEW, OLD), node(OLD.spki))
    assert unproven(needed, narrow, bundle(NEW, OLD)) == "CN=old is needed"
    (refused,) = acts(seen, replace(seen.snapshot, staged=(narrow,)))
    assert isinstance(refused, RejectStaged)
    assert refused.reason == f"it drops a CA that may be needed: {OUTSIDE}"
    said = replace(seen.snapshot, staged=(narrow,), words=(PRESENT,))
    assert [type(a) for a in acts(seen, said)] == [Install]
    assert [type(a) for a in acts(seen, replace(said, staged=(waiting(NEW, OLD),)))] == [RejectStaged]


def test_staged_wider_bundle_is_installed() -> None:
    """New and old, the new one first."""
    seen = view(bundle(OLD), node(OLD.spki))
    assert [type(a) for a in acts(seen, replace(seen.snapshot, staged=(waiting(NEW, OLD),)))] == [Install]
