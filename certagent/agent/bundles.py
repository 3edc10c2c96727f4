"""The commands about trust bundles: which directory they are for, and what is answered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from certagent.agent.bundling import Bundling
from certagent.agent.directories import Directories
from certagent.agent.directory import World
from certagent.certs_dir.swap import Store
from certagent.control.admission import Peer
from certagent.core.facts import Leaf, Why
from certagent.core.needs import Need, kept_for, needs, pruning
from certagent.core.policy import Policy, Want
from certagent.core.roles import BUNDLES
from certagent.core.status import rfc3339
from certagent.core.view import Planned
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger

T = TypeVar("T")
OF_BUNDLES = frozenset({"bundle-add", "bundle-prune", "bundle-show"})
CHANGED_WITHIN = 10.0  # seconds, for the thread of the directory: a disk that is slower is a reason to look again
BY_ITS_TOOL = "change it with the tool that rotates these files: new CAs first, former ones behind them"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleCommands:
    """What the answers need of the agent."""

    directories: Directories
    ledger: Ledger
    log: Log

    def answer(self, command: str, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
        """Given `bundle-add`, `bundle-prune` or `bundle-show`, return the answer. Raises HostError."""
        stem = str(arguments.get("bundle", "ca"))
        world = self.of(stem, str(arguments.get("certs_dir", "")))
        want, last = world.policy.want(stem), world.last
        if want is None or last is None:
            raise HostError(f"cannot read {stem}.crt: {world.policy.path} was not checked yet; repeat the command")
        about = {"ok": True, "certs_dir": world.policy.path, "bundle": stem}
        if command == "bundle-show":
            return {**about, "cas": shown(last, stem)}
        changeable(last, want)
        row, by = self.ledger.last(), str(peer)
        if bool(arguments.get("dry_run")):
            told = self._tried(command, arguments, world, want, last)
        else:
            reason = f"{command.replace('-', ' ')} {stem}: asked by {by}"
            self.log.emit("command.received", certs_dir=world.policy.path, file=stem, reason=reason)
            told = self._changed(command, arguments, self._bundling(world, by), want, last)
            self.directories.wake(world.policy.path, "command bundle")
        return {**about, "row": row, **told}

    def of(self, stem: str, certs_dir: str) -> World:
        """The directory with that bundle. HostError where there is none, or several."""
        return _one(stem, certs_dir, [(world.policy, world) for world in self.directories])

    def _bundling(self, world: World, by: str) -> Bundling:
        path = world.policy.path
        return Bundling(path=path, ledger=self.ledger, store=Store(path, world.policy.keep), by=by)

    def _tried(
        self, command: str, arguments: dict[str, Any], world: World, want: Want, last: Planned
    ) -> dict[str, Any]:
        """What would be changed."""
        if command == "bundle-prune":
            found = pruning(last.at(clock()), want.name.stem)
            return {"removed": cas(found.removed), "waits": list(found.waits), "needed": needed(last, want.name.stem)}
        added = self._bundling(world, "").added(want, str(arguments.get("pem", "")), clock())
        return {"added": cas(added.new), "there": cas(added.there)}

    def _changed(
        self, command: str, arguments: dict[str, Any], bundling: Bundling, want: Want, last: Planned
    ) -> dict[str, Any]:
        """What was changed, once it is staged and on the disk."""
        if command == "bundle-prune":
            removed = self._done(bundling.path, lambda: bundling.prune(want, last, clock()))
            return {"removed": cas(removed), "waits": [], "needed": needed(last, want.name.stem)}
        pem = str(arguments.get("pem", ""))
        added = self._done(bundling.path, lambda: bundling.add(want, pem, clock()))
        return {"added": cas(added.new), "there": cas(added.there)}

    def _done(self, path: str, change: Callable[[], T]) -> T:
        """Have the thread of the directory do something. Raises HostError."""
        found: list[T] = []
        problems: list[HostError] = []

        def run() -> None:
            try:
                found.append(change())
            except HostError as error:
                problems.append(error)

        done = self.directories.do(path, run)
        if done is None or not done.wait(CHANGED_WITHIN):
            raise HostError(f"{path} is being checked and did not answer in time; `certagent history` shows the result")
        if problems or not found:
            raise problems[0] if problems else HostError(f"cannot change {path}; the log says why")
        return found[0]


def observed(seen: list[Planned], stem: str, certs_dir: str) -> dict[str, Any]:
    """Given what was seen without an agent, return the answer to `bundle-show`. Raises HostError."""
    last = _one(stem, certs_dir, [(planned.policy, planned) for planned in seen])
    return {"ok": True, "certs_dir": last.policy.path, "bundle": stem, "cas": shown(last, stem)}


def _one(stem: str, certs_dir: str, managed: list[tuple[Policy, T]]) -> T:
    """The directory with that bundle. HostError where there is none, or several."""
    if stem not in BUNDLES:
        raise HostError(f"{stem} is no trust bundle; the bundles are {', '.join(BUNDLES)}")
    found = [each for policy, each in managed if certs_dir in {"", policy.path} and policy.want(stem)]
    if not found:
        raise HostError(f"{stem}.crt is not managed {f'in {certs_dir}' if certs_dir else 'here'}")
    if len(found) > 1:
        raise HostError(f"several certs directories have {stem}.crt; add --certs-dir")
    return found[0]


def changeable(last: Planned, want: Want) -> None:
    """HostError where this agent does not change the bundle, with what to do instead."""
    file, only = f"{want.name.stem}.crt", last.snapshot.directory.observe_only
    if only:
        external = only.why is Why.KUBERNETES or only.why is Why.MOUNT
        raise HostError(f"cannot change {file}: {only.reason}; {BY_ITS_TOOL if external else only.remedy}")
    if not want.authorities:
        raise HostError(f"cannot change {file}: no authority is configured for it; {BY_ITS_TOOL}")


def cas(found: tuple[Leaf, ...]) -> list[dict[str, Any]]:
    """CAs as they are shown."""
    return [{"subject": ca.subject, "fingerprint": ca.fingerprint, "not_after": rfc3339(ca.not_after)} for ca in found]


def shown(last: Planned, stem: str) -> list[dict[str, Any]]:
    """Each CA of a bundle, and who needs it."""
    found = needs(last.at(clock()), stem)
    return [{**cas((need.ca,))[0], **_who(need)} for need in found]


def needed(last: Planned, stem: str) -> list[str]:
    """Why each CA of a bundle stays that somebody was seen to need."""
    return list(kept_for(last.at(clock()), stem))


def _who(need: Need) -> dict[str, Any]:
    return {"needed_by": list(need.by), "unseen": list(need.unknown)}
