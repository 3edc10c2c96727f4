"""A host whose server is not running: whether it may start, seen from a few members.

A host that was away while the others changed their root must not serve before it has what they need: a bundle that
verifies them, and a leaf that they accept. A member that does not answer says nothing, because a whole cluster may
start at once. What is missing is brought as usual: a pinned root by overlap.py, a leaf by a renewal that does not wait
until it is due.
"""

from collections.abc import Iterator
from datetime import timedelta

from certagent.core.facts import LoaderFlags, Look, Pair
from certagent.core.loading import start_problem, verdicts
from certagent.core.names import CLIENT_NODE, NODE
from certagent.core.rotation.target import change
from certagent.core.spans import stamp
from certagent.core.timing import unit
from certagent.core.view import View

ADD = "add its root to the bundle: certagent bundle add FILE"
FEW = 5  # members that are looked at
AGAIN = timedelta(minutes=10)  # at each of them
PAUSE = timedelta(hours=1)  # between two renewals for that


def stopped(view: View) -> bool:
    """Whether no server uses the directory, as far as it was looked for."""
    return view.snapshot.processes_at is not None and not any(p.state != "gone" for p in view.snapshot.own_processes)


def chosen(view: View) -> tuple[str, ...]:
    """The members that this host looks at: each host others, and the same ones every time."""
    return tuple(sorted(view.snapshot.members.listed, key=lambda at: unit(view.policy.seed, at))[:FEW])


def offered(view: View) -> Pair | None:
    """The live pair with which the node is a client of the others."""
    found = (view.pair(name.stem) for name in (CLIENT_NODE, NODE))
    return next((p for p in found if p and p.matched and p.leaf), None)


def told(view: View, pair: Pair) -> tuple[Look, ...]:
    """What members said to that pair."""
    mark = pair.leaf.fingerprint if pair.leaf else ""
    members = view.snapshot.members
    return tuple(k for k in members.looks if k.offered == mark and k.address in members.listed and k.at <= view.now)


def refused(view: View, pair: Pair) -> Look | None:
    """A member that refuses a live pair of a host whose server is not running; None: nobody was seen to."""
    if not view.snapshot.members.looks or not stopped(view):
        return None
    return next((k for k in told(view, pair) if k.outcome == "refused"), None)


def renewal(view: View, pair: Pair) -> str | None:
    """Why a leaf is renewed before it is due: a member refuses it, and another root has taken the place of its own.

    Not again within an hour, where the CA still issues under the former root.
    """
    look, trust = refused(view, pair), pair.trust
    found = change(view, trust.bundle) if look and trust else None
    if look is None or found is None or trust is None or found.new.spki in trust.anchors:
        return None
    last = view.history.last_install(pair.name.stem)
    late = last is None or view.now - last.at >= PAUSE
    return f"{look.address} refuses the certificate, and its root was replaced: {look.reason}" if late else None


def hindrance(view: View) -> str:
    """Why the server must not start with what is on disk, "" where it may."""
    return next(_hindrances(view), "")


def _hindrances(view: View) -> Iterator[str]:
    snapshot, pair = view.snapshot, offered(view)
    if not snapshot.directory.exists or snapshot.directory.problem:
        yield snapshot.directory.problem or f"{snapshot.directory.path} does not exist"
    terms = (*view.policy.terms, LoaderFlags())[0]
    judged = verdicts(snapshot.pairs, snapshot.unmanaged_files, view.policy.owner.gid, terms)
    if problem := start_problem(judged, snapshot.pairs):
        yield problem
    yield from (why for name in (NODE, CLIENT_NODE) if (why := _useless(view, view.pair(name.stem))))
    for look in told(view, pair) if pair else ():
        if look.outcome == "refused" and pair:
            yield f"{look.address} refuses {pair.name.stem}.crt: {look.reason}"
        elif look.served and not look.anchors:
            yield f"{look.address} serves a certificate that ca.crt does not verify; {ADD}"


def _useless(view: View, pair: Pair | None) -> str:
    """Why every connection would fail with a pair of the node."""
    leaf = pair.effective if pair else None
    if pair is None or leaf is None:
        return ""
    file = f"{pair.name.stem}.crt"
    if not leaf.not_before <= view.now < leaf.not_after:
        return f"{file} is valid from {stamp(leaf.not_before)} to {stamp(leaf.not_after)}"
    return f"{file}: {pair.trust.problem}" if pair.trust and pair.trust.problem else ""
