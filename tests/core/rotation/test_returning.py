"""A host whose server is not running: what it looks at, what it renews, and whether a server may start."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from certagent.core.actions import Install, Issue, LookAt
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Directory, InFlight, Look, Members, Pair, Trust
from certagent.core.policy import RotationRule
from certagent.core.rotation.returning import FEW, hindrance, renewal
from certagent.core.view import View
from tests.core.building import DAY, NOW, leaf, pair, policy, process, snapshot, staged, want
from tests.core.test_bundles import NEW, OLD, bundle

MEMBERS = Members(source="peers", listed=tuple(f"m{n}:1" for n in range(9)))
OURS = leaf("node", 5)
RULES = policy(want("ca"), want("node"), rotation=RotationRule(peers=MEMBERS.listed))


def node(*anchors: str, cert: Any = OURS, problem: str | None = None) -> Pair:
    return replace(pair("node", cert), trust=Trust("ca", problem, anchors))


def look(outcome: Any = "accepted", address: str = "m0:1", **changes: Any) -> Look:
    found = Look(
        address=address, at=NOW, stem="node", offered="node-5", outcome=outcome, served="x", anchors=(OLD.spki,)
    )
    return replace(found, **changes)


def view(*looks: Look, here: tuple[Pair, ...] = (), **known: Any) -> View:
    pairs = here or (bundle(NEW, OLD), node(OLD.spki))
    found = snapshot(*pairs, members=replace(MEMBERS, looks=looks), **known)
    return View(policy=RULES, snapshot=found, now=NOW)


def looks_of(seen: View) -> list[LookAt]:
    return [a for a in decide(RULES, seen.snapshot, NOW).actions if isinstance(a, LookAt)]


def test_few_members_are_looked_at_while_no_server_runs() -> None:
    """With the live pair, the same ones every time, again after a while; none while a server runs."""
    found = looks_of(view())
    assert (len(found), {a.fingerprint for a in found}, {a.staged for a in found}) == (FEW, {"node-5"}, {False})
    first = found[0].address
    assert first not in {a.address for a in looks_of(view(look(address=first)))}
    old = look(address=first, at=NOW - timedelta(minutes=10))
    assert first in {a.address for a in looks_of(view(old))}
    running = InFlight("look", f"{first} node-5", NOW)
    assert first not in {a.address for a in looks_of(view(in_flight=(running,)))}
    assert looks_of(view(processes=(process(),))) == []
    assert looks_of(view(processes_at=None)) == []
    assert looks_of(view(here=(bundle(NEW, OLD),))) == []


REFUSED = look("refused", reason="unknown certificate authority")


def test_refused_pair_of_a_former_root_is_renewed() -> None:
    """Before it is due, as its root was replaced; not where it is of the new root, nor again within an hour."""
    seen = view(REFUSED)
    assert "m0:1 refuses the certificate" in (renewal(seen, node(OLD.spki)) or "")
    assert [a.subject for a in decide(RULES, seen.snapshot, NOW).actions if isinstance(a, Issue)] == ["node"]
    assert renewal(view(look()), node(OLD.spki)) is None
    new = view(REFUSED, here=(bundle(NEW, OLD), node(NEW.spki)))
    assert renewal(new, node(NEW.spki)) is None
    alone = view(REFUSED, here=(bundle(OLD), node(OLD.spki)))
    assert renewal(alone, node(OLD.spki)) is None
    assert renewal(view(REFUSED, processes=(process(),)), node(OLD.spki)) is None
    installed = Attempt("install", "node", NOW - timedelta(minutes=59), "ok", fingerprint="node-5")
    assert renewal(view(REFUSED, attempts=(installed,)), node(OLD.spki)) is None
    earlier = replace(installed, at=NOW - timedelta(hours=1))
    assert renewal(view(REFUSED, attempts=(earlier,)), node(OLD.spki))
    assert renewal(seen, replace(node(), trust=None)) is None


def test_new_pair_waits_for_nobody_where_the_live_one_is_refused() -> None:
    """Nothing becomes worse: no server runs, and the others refuse what it would serve."""
    answer = staged("node")
    answer = replace(answer, pair=replace(answer.pair, trust=Trust("ca", None, (NEW.spki,))))
    for looks, installed in (((REFUSED,), ["node"]), ((look(),), [])):
        seen = view(*looks, staged=(answer,))
        done = [a.stem for a in decide(RULES, seen.snapshot, NOW).actions if isinstance(a, Install)]
        assert done == installed


ENDED = replace(OURS, not_after=NOW)
SPLIT = (bundle(NEW, OLD), node(OLD.spki), pair("client.node"))


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (view(), ""),
        (view(look(), look("silent", "m1:1", served="", anchors=())), ""),
        (view(replace(REFUSED, offered="another")), ""),
        (view(replace(REFUSED, address="stranger:1")), ""),
        (view(replace(REFUSED, at=NOW + DAY)), ""),
        (view(REFUSED), "m0:1 refuses node.crt: unknown certificate authority"),
        (view(look(anchors=())), "m0:1 serves a certificate that ca.crt does not verify; add its root"),
        (view(here=(bundle(NEW, OLD), node(cert=ENDED))), "node.crt is valid from"),
        (view(here=(bundle(NEW), node(problem="unknown authority"))), "node.crt: unknown authority"),
        (view(here=(bundle(NEW, OLD),)), "node.crt"),
        (view(here=SPLIT), ""),
        (view(directory=Directory("/certs", exists=False)), "/certs does not exist"),
        (view(directory=Directory("/certs", exists=True, problem="it is a file")), "it is a file"),
    ],
    ids=[
        "unseen", "silent", "another pair", "stranger", "future", "refused", "unverified", "ended", "untrusted",
        "missing", "split", "no directory", "problem",
    ],
)  # fmt: skip
def test_server_may_start(seen: View, why: str) -> None:
    """Unless cockroach would not start, or every connection would fail as far as anybody has said so."""
    found = hindrance(seen)
    assert (why in found, bool(found)) == (True, bool(why)), found
