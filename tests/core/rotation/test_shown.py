"""What is shown of a rotation, and what a person types next: by phase and words, never by a sentence."""

from dataclasses import replace

import pytest

from certagent.core.actions import EndWords, subject_of
from certagent.core.bundles import certificates
from certagent.core.decide import decide, words
from certagent.core.facts import Authority, Loaded, Pair, Trust, Word
from certagent.core.policy import RotationRule
from certagent.core.predict import predict
from certagent.core.rotation import shown
from certagent.core.rotation.phases import Phase, Rotation, Row, Waits
from certagent.core.status import certs_dir, document, plan_document
from certagent.core.view import Planned, View
from tests.core.building import NOW, leaf, pair, policy, process, snapshot, want
from tests.core.test_bundles import NEW, OLD, bundle

ROW = Row(address="a:1", own=False, accepts=None, serves="", reason="not looked at", forced=False)
FOUND = Rotation(
    bundle="ca",
    root=NEW.spki,
    subject=NEW.subject,
    former=(OLD.subject,),
    former_roots=(OLD.spki,),
    phase="known",
    waits="person",
    why="why",
    rows=(ROW, replace(ROW, address="b:1", accepts=True, serves="new")),
)
OUTSIDE, NONE = policy(), policy(rotation=RotationRule(outside_clients=False))


@pytest.mark.parametrize(
    ("phase", "waits", "said", "alone", "next_"),
    [
        ("known", "person", (), False, "certagent bundle add FILE"),
        ("known", "machines", (), False, ""),
        ("trusted-here", "machines", (), False, ""),
        ("trusted-by-all", "person", (), False, "certagent rotation clients trust"),
        ("trusted-by-all", "person", ("clients-trust",), False, ""),
        ("trusted-by-all", "person", (), True, ""),
        ("leaves-everywhere", "person", ("clients-trust",), False, "certagent rotation clients present"),
        ("clients-done", "person", (), False, "certagent bundle prune"),
        ("leaf", "machines", ("pause",), False, "certagent rotation resume"),
        ("leaf", "person", ("abort", "clients-trust"), False, "certagent rotation resume"),
    ],
)
def test_next_command_follows_from_phase_and_words(
    phase: Phase, waits: Waits, said: tuple[str, ...], *, alone: bool, next_: str
) -> None:
    """Of a bundle that is not `ca` its name is added."""
    found = replace(FOUND, phase=phase, waits=waits, words=said)
    rule = NONE if alone else OUTSIDE
    assert shown.command(rule, found) == next_
    other = f"{next_} --bundle ca-client" if next_ else ""
    assert shown.command(rule, replace(found, bundle="ca-client")) == other


def test_incomplete_list_of_members_is_configured() -> None:
    """Before the bundle has the new root that comes first."""
    found = replace(FOUND, incomplete="nobody says who they are")
    assert shown.command(OUTSIDE, found) == "certagent bundle add FILE"
    told = shown.command(OUTSIDE, replace(found, phase="trusted-here", bundle="ca-client"))
    assert told == "set `peers` in [certs_dir.rotation]"


def test_exit_code_of_rotations() -> None:
    """0 without one, 2 while machines are waited for, 3 while a person is."""
    person, machines = (shown.rotation(OUTSIDE, replace(FOUND, waits=w)) for w in ("person", "machines"))
    assert [shown.exit_code(rows) for rows in ([], [machines], [machines, person])] == [0, 2, 3]


def node(*anchors: str) -> Pair:
    return replace(pair("node", leaf("node", 5)), trust=Trust("ca", None, anchors))


def view(*pairs: Pair, said: tuple[Word, ...] = (), authorities: tuple[Authority, ...] = ()) -> View:
    rule = RotationRule(peers=(), outside_clients=False)
    found = snapshot(*pairs, words=said, authorities=authorities)
    return View(policy=policy(want("ca"), want("node"), rotation=rule), snapshot=found, now=NOW)


def test_rotation_is_shown_in_status_and_plan() -> None:
    """With its members and what is next; a bundle of one CA, where nothing is staged, is in none."""
    seen = view(bundle(NEW, OLD), node(OLD.spki))
    plan = decide(seen.policy, seen.snapshot, NOW)
    (found,) = certs_dir(seen.policy, seen.snapshot, plan, NOW)["rotations"]
    assert (found["bundle"], found["subject"], found["former"]) == ("ca", NEW.subject, [OLD.subject])
    assert plan_document(seen.policy, seen.snapshot, NOW)["rotations"] == [found]
    assert shown.rotation(seen.policy, FOUND)["members"][1] == {
        "address": "b:1",
        "own": False,
        "accepts": True,
        "serves": "new",
        "reason": "not looked at",
        "forced": False,
    }
    assert shown.under_way(view(bundle(OLD), node(OLD.spki))) == ()


def test_next_command_names_the_directory_where_several_are_managed() -> None:
    """In `status --json` and in `plan --json`, as in `rotation status --json`; a single one goes without saying."""
    seen = view(bundle(NEW, OLD), node(OLD.spki), said=(PAUSE,))
    plan = decide(seen.policy, seen.snapshot, NOW)
    part = Planned(policy=seen.policy, snapshot=seen.snapshot, plan=plan)
    other = replace(part, policy=replace(seen.policy, path="/elsewhere"))
    told = [
        [each["next"] for d in document(parts, NOW, None)["certs_dirs"] for each in d["rotations"]]
        for parts in ([part], [part, other])
    ]
    verb = "certagent rotation resume"
    assert told == [[verb], [f"{verb} --certs-dir {seen.policy.path}", f"{verb} --certs-dir /elsewhere"]]
    (found,) = plan_document(seen.policy, seen.snapshot, NOW, several=True)["rotations"]
    assert found["next"] == told[1][0]


PAUSE = Word(kind="pause", bundle="ca", root=NEW.spki, at=NOW)
UNREAD = Authority("house", "vault", unreadable="unread")


@pytest.mark.parametrize(
    ("seen", "ends"),
    [
        (view(bundle(NEW, OLD), node(OLD.spki), said=(PAUSE,)), False),
        (view(bundle(NEW, OLD), node(NEW.spki), said=(PAUSE,)), False),
        (view(bundle(NEW), node(NEW.spki), said=(PAUSE,)), True),
        (view(bundle(OLD), node(OLD.spki), said=(PAUSE,)), True),
        (view(bundle(NEW), node(NEW.spki), said=(PAUSE,), authorities=(UNREAD,)), False),
        (view(Pair(bundle(NEW).name), node(NEW.spki), said=(PAUSE,)), False),
        (view(node(NEW.spki), said=(PAUSE,)), False),
        (view(bundle(NEW, OLD), node(OLD.spki), said=(replace(PAUSE, root=OLD.spki),)), False),
        (view(bundle(NEW, OLD), node(OLD.spki), said=(replace(PAUSE, root="gone"),)), True),
    ],
    ids=["begun", "leaf", "pruned", "left", "unread", "no bundle", "nothing", "former", "another root"],
)
def test_words_end_with_their_rotation(seen: View, *, ends: bool) -> None:
    """Once nothing former is in the bundle, or the new root has left it; never while nothing is known."""
    found = words.part(seen).actions
    assert len(found) == ends
    for action in found:
        assert isinstance(action, EndWords)
        assert subject_of(action) == "ca"
        after = predict(seen.snapshot, action, NOW)
        assert (after.words, certificates(after.pair("ca"))) == ((), certificates(seen.pair("ca")))


BOTH = Authority("house", "vault", roots=(NEW, OLD), pins=(NEW.fingerprint, OLD.fingerprint))
BEFORE = replace(pair("node", leaf("node", 4)), trust=Trust("ca", None, (OLD.spki,)))


@pytest.mark.parametrize(
    ("loaded", "ends"),
    [((BEFORE,), False), ((node(NEW.spki),), True), ((), True), (None, True)],
    ids=["the former pair", "the new pair", "no pair of the node", "nothing is known"],
)
def test_words_stay_until_processes_have_loaded_the_new_pair(loaded: tuple[Pair, ...] | None, *, ends: bool) -> None:
    """Where both roots are pinned nothing is former once the new pair is on disk; its reload needs the words."""
    seen = view(bundle(NEW, OLD), node(NEW.spki), said=(PAUSE,), authorities=(BOTH,))
    known = () if loaded is None else (Loaded("before", loaded),)
    found = replace(seen, snapshot=replace(seen.snapshot, processes=(process(),), loaded=known))
    assert bool(words.part(found).actions) == ends
