"""The commands about rotations: what is said is on the disk before it is answered."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from certagent.agent.directories import Directories
from certagent.agent.directory import World
from certagent.control.admission import Peer
from certagent.core.facts import Attempt, Word
from certagent.core.facts.members import STOPS, Kind
from certagent.core.policy import Policy
from certagent.core.roles import BUNDLES
from certagent.core.rotation import shown
from certagent.core.rotation.phases import rotations
from certagent.core.rotation.returning import hindrance
from certagent.core.rotation.roots import BY_MEMBERS, anchors, leading
from certagent.core.rotation.target import Change, changes, to_come
from certagent.core.status import rfc3339
from certagent.core.view import View
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.posix.errors import HostError

OF_ROTATIONS = frozenset({"rotation-status", "rotation-say", "rotation-resume", "may-start"})
EVENTS: dict[str, str] = {
    "pause": "rotation.paused",
    "abort": "rotation.aborted",
    "force": "rotation.forced",
    "clients-trust": "rotation.clients-trust",
    "clients-present": "rotation.clients-present",
}
LATER = "say it when `certagent rotation status` shows the phase `leaf` or a later one"
NOT_LISTED = "none is listed: list them in `peers` of [certs_dir.rotation]"
SHOWS = "`certagent bundle show` shows the roots"
STARTS = "`certagent bundle add FILE` begins one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The rotation that a command is about."""

    world: World
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationCommands:
    """What the answers need of the agent."""

    directories: Directories
    log: Log

    def answer(self, command: str, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
        """Given one of OF_ROTATIONS, return the answer. Raises HostError."""
        certs_dir, by = str(arguments.get("certs_dir", "")), str(peer)
        if command == "rotation-status":
            return {"ok": True, "document": self.status(certs_dir)}
        if command == "may-start":
            return {
                "ok": True,
                "certs_dirs": [may_start(w) for w in self.directories.named(certs_dir)],
            }
        named, now = str(arguments.get("bundle", "")), clock()
        if command == "rotation-resume":
            return self._resume(named, certs_dir, by, now)
        kind, peer_name = str(arguments.get("kind", "")), str(arguments.get("peer", ""))
        if kind not in get_args(Kind):
            raise HostError(f"cannot say {kind!r} about a rotation")
        root = str(arguments.get("root", ""))
        target = self._target(named, certs_dir, now, root if kind == "clients-trust" else None)
        if arguments.get("undo"):
            return self._take_back(kind, target, by, now)
        return self._say(kind, peer_name, target, by, now)

    def status(self, certs_dir: str) -> dict[str, Any]:
        """Every rotation of every directory, or of the one that is named."""
        found = self.directories.named(certs_dir)
        if not found:
            raise HostError(f"nothing is managed in {certs_dir}; `certagent status` lists what is managed")
        now, several = clock(), len(self.directories.named("")) > 1
        rows = [
            {
                "path": w.policy.path,
                "rotations": [shown.rotation(w.policy, r, several=several) for r in rotations(view)],
            }
            for w in found
            if (view := view_of(w, now))
        ]
        return {"version": 1, "now": rfc3339(now), "certs_dirs": rows}

    def _say(self, kind: str, peer: str, target: Target, by: str, now: datetime) -> dict[str, Any]:
        world, change = target.world, target.change
        if kind == "force":
            listed(view_of(world, now), peer)
        root = root_of(kind, change, world.words.all(), staying(view_of(world, now), change))
        if kind == "clients-present" and root == change.new.spki:
            live(view_of(world, now), change)
        word = Word(kind=kind, bundle=change.bundle, root=root, at=now, peer=peer, by=by)  # type: ignore[arg-type]
        about = f"the rotation of {change.bundle} to {change.new.subject}"
        reason = f"{about}{f', about {peer}' if peer else ''}: said by {by}"
        world.words.say(word, Attempt("command", change.bundle, now, "ok", reason, command=verb(kind)))
        return self._told(world, EVENTS[kind], change.bundle, reason, subject=change.new.subject)

    def _take_back(self, kind: str, target: Target, by: str, now: datetime) -> dict[str, Any]:
        """Forget a word about clients that was said too early; what was done because of it stays."""
        world, change = target.world, target.change
        said = [word for word in world.words.all() if (word.kind, word.bundle) == (kind, change.bundle)]
        if not said:
            raise HostError(f"nobody has said `{verb(kind)}`; `certagent history {change.bundle}` shows what was said")
        reason = f"the rotation of {change.bundle} to {change.new.subject}: said by {by}"
        attempt = Attempt("command", change.bundle, now, "ok", reason, command=f"{verb(kind)} --undo")
        world.words.take_back(said, attempt)
        return self._told(world, "rotation.taken-back", change.bundle, reason, subject=change.new.subject)

    def _resume(self, named: str, certs_dir: str, by: str, now: datetime) -> dict[str, Any]:
        """Take back that a rotation is paused or aborted, also where it cannot be seen at the moment."""
        rows = [(w, word) for w in self.directories.named(certs_dir) for word in w.words.all()]
        stopped = [(w, word) for w, word in rows if word.kind in STOPS and _meant(w.policy, named, word.bundle)]
        if not stopped:
            raise HostError("no rotation is paused or aborted")
        if len({(w.policy.path, word.bundle) for w, word in stopped}) > 1:
            raise HostError("several rotations are paused or aborted; add --certs-dir or --bundle")
        world, bundle = stopped[0][0], stopped[0][1].bundle
        reason = f"the rotation of {bundle}: said by {by}"
        attempt = Attempt("command", bundle, now, "ok", reason, command="rotation resume")
        world.words.take_back([word for _, word in stopped], attempt)
        return self._told(world, "rotation.resumed", bundle, reason)

    def _told(self, world: World, event: str, bundle: str, reason: str, subject: str = "") -> dict[str, Any]:
        path = world.policy.path
        self.log.emit(event, certs_dir=path, file=bundle, reason=reason)
        self.directories.wake(path, "command rotation")
        return {"ok": True, "certs_dir": path, "bundle": bundle, "subject": subject}

    def _target(self, named: str, certs_dir: str, now: datetime, root: str | None) -> Target:
        """The one rotation that is meant. HostError where there is none, or several.

        `root`: None where only one that can be seen may be meant; else "", or how a person names the root.
        """
        views = [(w, view) for w in self.directories.named(certs_dir) if (view := view_of(w, now))]
        seen = [
            Target(world=w, change=c) for w, view in views for c in changes(view) if _meant(w.policy, named, c.bundle)
        ]
        if root is None or (seen and not root):
            return one(seen, certs_dir)
        possible = [
            Target(world=w, change=c)
            for w, view in views
            for stem in BY_MEMBERS
            if _meant(w.policy, named, stem)
            for c in to_come(view, stem, root)
        ]
        return only(possible, root) if possible or root else one(seen, certs_dir)


def one(found: Iterable[Target], certs_dir: str) -> Target:
    """The only one. HostError where there is none, or several."""
    found = tuple(found)
    if not found:
        raise HostError(f"no rotation is under way {f'in {certs_dir}' if certs_dir else 'here'}; {STARTS}")
    if len(found) > 1:
        names = ", ".join(f"{t.change.bundle} in {t.world.policy.path}" for t in found)
        raise HostError(f"several rotations are under way: {names}; add --bundle or --certs-dir")
    return found[0]


def only(found: list[Target], root: str) -> Target:
    """The only root of a trust bundle to which a rotation may lead, before one can be seen. HostError otherwise."""
    if not found:
        raise HostError(f"no root {root!r} stands in a trust bundle that the next certificates may lead to; {SHOWS}")
    if len(found) > 1:
        names = ", ".join(f"{t.change.new.subject} (SHA-256 {t.change.new.fingerprint[:12]})" for t in found)
        raise HostError(f"several roots may be meant: {names}; add --root with the beginning of the fingerprint")
    return found[0]


def root_of(kind: str, change: Change, words: Iterable[Word], stays: str = "") -> str:
    """The root that a word is about: the new one, or the one that stays where the rotation was aborted.

    Of an aborted rotation the new root leaves the bundle, and clients have to present what the former one verifies.
    """
    aborted = any((w.kind, w.bundle, w.root) == ("abort", change.bundle, change.new.spki) for w in words)
    back = stays or next((ca.spki for ca in change.former), "")
    return back if back and aborted and kind == "clients-present" else change.new.spki


def staying(view: View | None, change: Change) -> str:
    """The other root that the own pairs lead to: no CA is a former one while an authority may still issue from it."""
    pairs = leading(view.snapshot, change.bundle) if view and not change.former else ()
    return next((root for pair in pairs for root in anchors(pair) if root != change.new.spki), "")


def may_start(world: World) -> dict[str, Any]:
    """Whether a server may start in a directory, and whether everything that can be done for that was done."""
    view, last = view_of(world, clock()), world.last
    settled = view is not None and last is not None and not (view.snapshot.in_flight or last.plan.actions)
    return {
        "path": world.policy.path,
        "settled": bool(settled and view and view.snapshot.processes_at is not None),
        "hindrance": hindrance(view) if view else "the directory was not checked yet",
    }


def view_of(world: World, now: datetime) -> View | None:
    """What was last seen of a directory, None where nothing was yet."""
    last = world.last
    return last.at(now) if last else None


def listed(view: View | None, peer: str) -> None:
    """HostError unless that member is listed: a misspelled one would be waited for all the same."""
    members = view.snapshot.members.listed if view else ()
    if peer not in members:
        known = f"they are: {', '.join(members)}" if members else NOT_LISTED
        raise HostError(f"{peer!r} is not one of the listed members; {known}")


def live(view: View | None, change: Change) -> None:
    """HostError while this host serves no certificate of the new root: no client can have one that counts so far."""
    pairs = leading(view.snapshot, change.bundle) if view else ()
    if pairs and not any(change.new.spki in anchors(pair) for pair in pairs):
        first = f"{pairs[0].name.stem}.crt is still of the former CA"
        raise HostError(f"cannot say that clients present certificates of {change.new.subject}: {first}; {LATER}")


def verb(kind: str) -> str:
    """What was said, as it was typed."""
    return f"rotation {kind.replace('clients-', 'clients ')}"


def _meant(policy: Policy, named: str, bundle: str) -> bool:
    """Whether a name on the command line, of a bundle or of a pair that it verifies, means the rotation of a bundle."""
    want = policy.want(named) if named and named not in BUNDLES else None
    return bundle in (want.name.kind.verified_by if want else (named or bundle,))
