"""The answers to commands of the control socket. Each runs in its own thread, and only reads or queues."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from certagent import __version__
from certagent.agent.bundles import OF_BUNDLES, BundleCommands
from certagent.agent.directories import Directories
from certagent.agent.rotation import OF_ROTATIONS, RotationCommands
from certagent.agent.service import Service, planned
from certagent.config import Config
from certagent.control.admission import Peer
from certagent.control.server import Tell, untold
from certagent.core.decide.generations import going_back, nothing_to_go_back_to
from certagent.core.facts import Request
from certagent.core.metrics import agent_label, collected, exposition
from certagent.core.policy import OcspRule, Policy
from certagent.core.status import rfc3339
from certagent.core.view import Planned
from certagent.core.words import withheld
from certagent.events import Log
from certagent.operations.ocsp_advice import advise, chosen
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.posix.responding import FRESH, responds
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import SharedOnly
from certagent.state.ledger import Ledger

MOST_ROWS = 10_000
ANOTHER = "other-configuration"
TRIAL = "authority-test"  # for root and the agent's user alone
FIRST_LOOK = 4.0  # seconds that a status query waits for it: under the five of its client
ROTATION = "copy a bundle with the old and the new CA certificates to every node, then renew the certificates"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The service, and the objects that its commands need."""

    service: Service
    directories: Directories
    path: str  # of the configuration file
    workers: Workers
    ledger: Ledger
    log: Log
    started: datetime

    def answer(self, command: str, arguments: dict[str, Any], peer: Peer, tell: Tell = untold) -> dict[str, Any]:
        """Given a command and who asks, return the answer as JSON. `tell` hears what is known before it."""
        try:
            if command == TRIAL:
                return self._trial(arguments, tell)
            made = self._about_roots if command in OF_BUNDLES | OF_ROTATIONS else self._answer
            answer = made(command, arguments, peer)
            return answer if peer.trusted else {key: withheld(value) for key, value in answer.items()}
        except HostError as error:
            return {"ok": False, "error": str(error), "code": "refused"}

    def _answer(  # noqa: PLR0911 - one arm per command
        self, command: str, arguments: dict[str, Any], peer: Peer
    ) -> dict[str, Any]:
        certs_dir, file = str(arguments.get("certs_dir", "")), str(arguments.get("file", ""))
        match command:
            case "status":
                self.service.wait_until_looked(FIRST_LOOK)
                return {"ok": True, "document": self.status()}
            case "plan" if not peer.trusted:
                return {"ok": True, "document": planned(self.service.seen())}
            case "plan":
                if not self._same_file(str(arguments.get("config", self.path))):
                    raise HostError("cannot plan: the agent runs with another configuration")
                return {"ok": True, "document": self.service.plans()}
            case "history":
                limit = max(0, min(int(arguments.get("limit", 50)), MOST_ROWS))
                return {"ok": True, "rows": self.ledger.history(certs_dir, file, limit)}
            case "advise-ocsp":
                return {
                    "ok": True,
                    "document": advise(self._managed(certs_dir), allow_private=bool(arguments.get("allow_private"))),
                }
            case "renew" | "rollback" | "reload":
                row, force = self.ledger.last(), bool(arguments.get("force"))
                request = Request(command, file, clock(), force=force, row=row)
                asked = f"{f'{command} {file}'.strip()}: asked by {peer}"
                path = self._put(request, certs_dir, asked)
                return {"ok": True, "at": rfc3339(request.at), "row": row, "certs_dir": path}
            case "clear":
                return {"ok": True, "certs_dir": self._clear(file, certs_dir, peer)}
            case "authority-account":
                return self._account(arguments, peer)
        raise HostError(f"cannot {command!r}: unknown command")

    def _trial(self, arguments: dict[str, Any], tell: Tell) -> dict[str, Any]:
        """The answer to the one command that takes long, and says how far it has come. Raises HostError."""
        if not self._same_file(str(arguments.get("config", self.path))):
            error = "cannot test an authority: the agent runs with another configuration"
            return {"ok": False, "error": error, "code": ANOTHER, "config": self.path}
        name, certs_dir = str(arguments.get("name", "")), str(arguments.get("certs_dir", ""))
        document = authority_test(self.service.config, self.workers, name, certs_dir, tell)
        return {"ok": True, "document": document}

    def _about_roots(self, command: str, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
        """The answers about trust bundles and rotations, once the directories were looked at."""
        self.service.wait_until_looked(FIRST_LOOK)
        if command in OF_ROTATIONS:
            return RotationCommands(directories=self.directories, log=self.log).answer(command, arguments, peer)
        bundles = BundleCommands(directories=self.directories, ledger=self.ledger, log=self.log)
        return bundles.answer(command, arguments, peer)

    def status(self) -> dict[str, Any]:
        """The status document, with what it says of this agent."""
        return self.service.status(self._daemon())

    def metrics(self) -> str:
        """The same as metrics."""
        return exposition(collected(self.status(), agent_label(self.path)))

    def _same_file(self, config: str) -> bool:
        """Whether that is the configuration of this agent."""
        return config == self.path or (responds(self.path, FRESH) and config == os.path.realpath(self.path))

    def _clear(self, stem: str, certs_dir: str, peer: Peer) -> str:
        """A person says that nobody can have read a key: forget that it was exposed. Raises HostError."""
        key = f"{stem}.key"
        found = [w for w in self.directories.named(certs_dir) if w.last and w.exposed(key)]
        if len(found) != 1:
            why = "several certs directories have it; add --certs-dir" if found else "certagent knows of no exposure"
            raise HostError(f"cannot clear {key}: {why}")
        found[0].clear(key)
        reason = f"clear {key}: asked by {peer}"
        self.log.emit("command.received", certs_dir=found[0].policy.path, file=key, reason=reason)
        self.directories.wake(found[0].policy.path, "command clear")
        return found[0].policy.path

    def _account(self, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
        """What becomes of an account with a CA. Raises HostError."""
        from certagent.operations.acme_account import change

        name, operation = str(arguments.get("name", "")), str(arguments.get("operation", ""))
        if not self._same_file(str(arguments.get("config", self.path))):
            error = f"cannot change the account of {name}: the agent runs with {self.path}; name it by -c"
            return {"ok": False, "error": error, "code": ANOTHER}
        reason = f"authority account {name} {operation}: asked by {peer}"
        self.log.emit("command.received", reason=reason)
        return {"ok": True, "note": change(self.service.config, self.workers, name, operation, clock())}

    def _managed(self, certs_dir: str) -> list[tuple[str, OcspRule]]:
        """The requested managed directories; HostError for any other: the agent reads only managed ones."""
        found = [w.policy for w in self.directories.named(certs_dir)]
        if not found:
            raise HostError(f"cannot read {certs_dir}: the agent does not manage it")
        return chosen(found, certs_dir)

    def _put(self, request: Request, certs_dir: str, reason: str) -> str:
        """Put an operator's command where decide sees it; HostError where it names nothing here, or several things."""
        worlds = self.directories.worlds  # as they are now, whatever configuration is taken meanwhile
        found = addressed([w.policy for w in worlds.values()], request, certs_dir)
        self.service.wait_until_looked(FIRST_LOOK)  # before that nothing says whether the command can succeed
        if len(found) == 1 and (last := worlds[found[0]].last):
            possible(last, request)
        for path in found:
            worlds[path].put(request)
        self.log.emit("command.received", certs_dir=certs_dir, file=request.subject, reason=reason)
        for path in found:
            self.directories.wake(path, f"command {request.kind}")
        return found[0]

    def _daemon(self) -> dict[str, Any]:
        """What `status` says of the daemon itself."""
        about = {"config": self.path, "config_problem": self.service.config_problem}
        times = {"started": rfc3339(self.started), "last_turn": rfc3339(self.service.turned)}
        return {"pid": os.getpid(), **times, "version": __version__, **about}


def addressed(policies: Iterable[Policy], request: Request, certs_dir: str) -> list[str]:
    """Given what is managed, a command and the certs-dir that it names ("": none), return whom it is for.

    HostError where it is for nothing here, or a file is in several places.
    """
    stem = request.subject
    found = [p.path for p in policies if certs_dir in ("", p.path) and (not stem or p.want(stem))]
    if not found:
        where = f"in {certs_dir}" if certs_dir else "here"
        what = f"{stem} is not" if stem else "nothing is"
        raise HostError(f"cannot {request.kind}: {what} managed {where}; `certagent status` lists what is managed")
    if len(found) > 1 and stem:
        raise HostError(f"cannot {request.kind} {stem}: several certs directories have it; add --certs-dir")
    return found


def possible(last: Planned, request: Request) -> None:
    """HostError if the last observation shows that the command cannot succeed, so that nobody waits for it."""
    stem = request.subject
    if request.kind == "renew" and stem in last.snapshot.bundles:
        raise HostError(f"cannot renew {stem}: a renewal never replaces a trust bundle; {ROTATION}")
    want = last.policy.want(stem)
    if request.kind == "renew" and want and not want.authorities:
        raise HostError(
            f"cannot renew {stem}: no authority is configured for it; renew it with the tool that rotates it"
        )
    directory = last.snapshot.directory
    if (only := directory.observe_only) and (request.kind == "rollback" or directory.left_alone):
        what = "roll back" if request.kind == "rollback" else request.kind
        raise HostError(f"cannot {what} {stem or directory.path}: {only.reason}; {only.remedy}")
    view = last.at(request.at)
    if request.kind == "rollback" and going_back(view, stem, "") is None:
        raise HostError(f"cannot roll back {stem}: {nothing_to_go_back_to(view, stem)}")


def authority_test(config: Config, workers: Workers, name: str, certs_dir: str, tell: Tell = untold) -> dict[str, Any]:
    """Request a certificate that is not used; `tell` hears of each step as it ends. Raises HostError."""
    from certagent.operations.authority_test import trial

    book = SharedOnly(os.path.join(config.settings.state_dir, "authority"))
    return trial(config, workers, book, name, certs_dir, clock, tell)
