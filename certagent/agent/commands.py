"""The answers to commands of the control socket. Each runs in a thread of its own, and only reads or puts."""

import os
from collections.abc import Iterable
from typing import Any

from certagent import __version__
from certagent.agent.service import Last, Service
from certagent.config import Config
from certagent.control.server import Peer
from certagent.core.decide.generations import going_back
from certagent.core.facts import Request
from certagent.core.policy import OcspRule, Policy
from certagent.core.status import plan_document, rfc3339
from certagent.operations.ocsp_advice import advise, chosen
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import SharedOnly

MOST_ROWS = 10_000
FIRST_LOOK = 4.0  # seconds that a status query waits for it: under the five of its client
NOTHING_EARLIER = "no earlier pair is kept that is sound, unexpired, not revoked and was never rolled back"
ROTATION = "put the file with old and new CAs there on every node, and renew the leaves later (docs/configuration.md)"


def answer(service: Service, command: str, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
    """Given a command and who asks, return the answer as JSON."""
    try:
        return _answer(service, command, arguments, peer)
    except HostError as error:
        return {"ok": False, "error": str(error), "code": "refused"}


def _answer(  # noqa: PLR0911 - one arm per command
    service: Service, command: str, arguments: dict[str, Any], peer: Peer
) -> dict[str, Any]:
    certs_dir, file = str(arguments.get("certs_dir", "")), str(arguments.get("file", ""))
    match command:
        case "status":
            service.looked.wait(FIRST_LOOK)
            return {"ok": True, "document": service.status(daemon_fact(service))}
        case "plan" if not peer.trusted:
            return {"ok": True, "document": known_plans(service)}
        case "plan":
            if arguments.get("config", service.path) not in {service.path, os.path.realpath(service.path)}:
                raise HostError("cannot plan by a configuration that the daemon does not run by")
            with service.lock:
                return {"ok": True, "document": plans(service)}
        case "history":
            limit = max(0, min(int(arguments.get("limit", 50)), MOST_ROWS))
            return {"ok": True, "rows": service.ledger.history(certs_dir, file, limit)}
        case "advise-ocsp":
            return {"ok": True, "document": advise(_managed(service, certs_dir))}
        case "renew" | "rollback" | "reload":
            row, force = service.ledger.last(), bool(arguments.get("force"))
            request = Request(command, file, clock(), force=force, row=row)
            path = put(
                service, request, certs_dir, f"{f'{command} {file}'.strip()}: asked by uid {peer.uid}, pid {peer.pid}"
            )
            return {"ok": True, "at": rfc3339(request.at), "row": row, "certs_dir": path}
        case "authority-test":
            name = str(arguments.get("name", ""))
            return {"ok": True, "document": authority_test(service.config, service.workers, name, certs_dir)}
        case "authority-account":
            name, operation = str(arguments.get("name", "")), str(arguments.get("operation", ""))
            return {"ok": True, "note": _account(service, name, operation, peer)}
    raise HostError(f"cannot {command!r}: there is no such command")


def _account(service: Service, name: str, operation: str, peer: Peer) -> str:
    """What becomes of an account with a CA. Raises HostError."""
    from certagent.operations.acme_account import change

    reason = f"authority account {name} {operation}: asked by uid {peer.uid}, pid {peer.pid}"
    service.log.emit("command.received", reason=reason)
    return change(service.config, service.workers, name, operation, clock())


def _managed(service: Service, certs_dir: str) -> list[tuple[str, OcspRule]]:
    """The managed directories that were asked for; HostError where it is none: the daemon reads no other."""
    found = [w.policy for w in service.worlds.values() if certs_dir in ("", w.policy.path)]
    if not found:
        raise HostError(f"cannot look at {certs_dir}: it is not managed here")
    return chosen(found, certs_dir)


def put(service: Service, request: Request, certs_dir: str, reason: str) -> str:
    """Put an operator's command where decide sees it; HostError where it names nothing here, or several things."""
    worlds = dict(service.worlds)  # as they are now, whatever configuration is taken meanwhile
    found = addressed([w.policy for w in worlds.values()], request, certs_dir)
    if request.subject and (last := service.last.get(found[0])):
        possible(last, request)
    for path in found:
        worlds[path].inbox.put(request)
    service.log.emit("command.received", certs_dir=certs_dir, file=request.subject, reason=reason)
    service.wake(f"command {request.kind}")
    return found[0]


def addressed(policies: Iterable[Policy], request: Request, certs_dir: str) -> list[str]:
    """Given what is managed, a command and the certs-dir that it names ("": none), return whom it is for.

    HostError where it is for nothing here, or a file is in several places.
    """
    stem = request.subject
    found = [p.path for p in policies if certs_dir in ("", p.path) and (not stem or p.want(stem))]
    if not found:
        where = f"in {certs_dir}" if certs_dir else "here"
        what = f"{stem} is not" if stem else "nothing is"
        raise HostError(f"cannot {request.kind}: {what} managed {where}; `certagent status` lists what is")
    if len(found) > 1 and stem:
        raise HostError(f"cannot {request.kind} {stem}: several certs-dirs have it; add --certs-dir")
    return found


def possible(last: Last, request: Request) -> None:
    """HostError where a command cannot come true, by what was seen last: nobody should wait for it."""
    stem = request.subject
    if request.kind == "renew" and stem in last.snapshot.bundles:
        raise HostError(f"cannot renew {stem}: a trust bundle is never replaced by an issuance; {ROTATION}")
    want = last.policy.want(stem)
    if request.kind == "renew" and want and not want.authorities:
        raise HostError(f"cannot renew {stem}: no authority issues it; whoever rotates it puts the pair there")
    if request.kind == "rollback" and last.snapshot.directory.foreign:
        raise HostError(f"cannot roll back {stem}: something else owns the files: {last.snapshot.directory.foreign}")
    back = going_back(last.policy, last.snapshot, stem, "", request.at)
    if request.kind == "rollback" and back is None:
        raise HostError(f"cannot roll back {stem}: {NOTHING_EARLIER}")


def authority_test(config: Config, workers: Workers, name: str, certs_dir: str) -> dict[str, Any]:
    """Ask a CA for a certificate that nobody uses. Raises HostError."""
    from certagent.operations.authority_test import trial

    book = SharedOnly(os.path.join(config.settings.state_dir, "authority"))
    return trial(config, workers, book, name, certs_dir, clock)


def plans(service: Service) -> dict[str, Any]:
    """What would be done now, for every certs-dir, without doing it."""
    found = []
    for path, world in service.worlds.items():
        found.append({"path": path, **plan_document(world.policy, world.observe(clock()), clock())})
    return {"version": 1, "certs_dirs": found}


def known_plans(service: Service) -> dict[str, Any]:
    """The same by what the last turn saw: whoever may only read has nothing observed, and holds no turn up."""
    rows = list(service.last.values())
    found = [{"path": e.policy.path, **plan_document(e.policy, e.snapshot, clock())} for e in rows]
    return {"version": 1, "certs_dirs": found}


def daemon_fact(service: Service) -> dict[str, Any]:
    """What `status` says of the daemon itself."""
    about = {"config": service.path, "config_problem": service.config_problem}
    return {"pid": os.getpid(), "started": rfc3339(service.started), "version": __version__, **about}
