"""Judging a certs-dir as it lies there: what cockroach says when it loads it, and what it would not say but should.

For `certagent check`, which needs no configuration, no daemon and changes nothing. A target is a directory and a user,
a running process, or what a configuration names; each is read as that user reads it, links followed.
"""

import os
import pwd
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from certagent.core import names
from certagent.core.actions import Finding
from certagent.core.decide import SEVERITIES, decide
from certagent.core.facts import Pair, Snapshot, Terms
from certagent.core.loading import Verdict, start_problem, tenant_named, verdicts
from certagent.core.names import CA, NODE, Name, Role
from certagent.core.policy import Owner, Policy, Want, under
from certagent.core.status import finding, rfc3339
from certagent.host import procs
from certagent.host.certs import Runner, Scan, load
from certagent.host.errors import HostError

OF_CHECK = ("cert.", "key.", "ca.", "name.", "dir.")


@dataclass(frozen=True, slots=True)
class Target:
    """One directory to judge: where it is, whom cockroach runs as, and what its process changes."""

    policy: Policy
    terms: Terms
    gid: int  # real, of the process
    groups: tuple[int, ...] | None = None
    root: str = ""
    pid: int | None = None
    serving: bool = False  # a server loads it: without node.crt it does not start

    @property
    def configured(self) -> bool:
        """A configuration manages it."""
        return bool(self.policy.wants)


def own_terms(options: Sequence[str]) -> Terms:
    """The terms of a process with our own environment and these flags."""
    return procs.terms_of(options, os.environ)


def directory_target(path: str, user: str, terms: Terms) -> Target:
    """Given a directory and a user ("": its owner), return the target; HostError where there is no such user."""
    path = os.path.abspath(path)
    try:
        account = pwd.getpwnam(user) if user else pwd.getpwuid(_owner_of(path))
    except KeyError as error:
        whom = f"user {user!r}" if user else f"name for the owner of {path}"
        raise HostError(f"cannot check {path}: there is no {whom}; name one with --user") from error
    owner = Owner(account.pw_name, account.pw_uid, account.pw_gid)
    return Target(Policy(path, owner, ""), terms, owner.gid)


def _owner_of(path: str) -> int:
    try:
        return os.stat(path).st_uid
    except OSError:
        return os.getuid()


def process_target(pid: int) -> Target:
    """Given a pid, return the target of its certs-dir; HostError where it is gone, denied, or has none."""
    running = procs.running(pid)
    if running.insecure:
        raise HostError(f"cannot check pid {pid}: it runs with --insecure and loads no certificates")
    owner = Owner(running.user, running.uid, running.gid)
    policy = Policy(running.certs_dir, owner, "")
    serving = bool(running.command.partition(" ")[2])
    return Target(policy, running.terms, running.gid, running.groups, running.root, pid, serving)


def configured_target(policy: Policy, terms: Terms) -> Target:
    """A certs-dir of the configuration, on the terms of the process that owns it, where one runs."""
    try:
        info = os.stat(policy.path)
        owners = procs.find(info.st_dev, info.st_ino, policy.process)
    except OSError:
        owners = ()
    return Target(policy, owners[0].terms if owners else terms, policy.owner.gid, serving=bool(owners))


def check(target: Target) -> dict[str, Any]:
    """The verdict on one target, as a JSON-able document."""
    policy, now = target.policy, datetime.now(UTC)
    scan = load(policy.path, now, Runner(policy.owner.uid, policy.owner.gid, target.groups), target.root)
    judged = verdicts(scan.pairs, scan.strangers, target.gid, target.terms)
    found = sorted(
        dict.fromkeys(_findings(target, scan, judged, now)), key=lambda f: (-SEVERITIES.index(f.severity), f.file)
    )
    problem = scan.directory.problem or (start_problem(judged) if scan.directory.exists else "the directory is missing")
    ends = {f"{p.name.stem}.crt": p.leaf.not_after for p in scan.pairs if p.leaf}
    return {
        "version": 1,
        "certs_dir": policy.path,
        "user": policy.owner.user,
        "pid": target.pid,
        "severity": max((f.severity for f in found), key=SEVERITIES.index, default="ok"),
        "start": {"accepted": not problem, "reason": problem},
        "findings": [finding(f) for f in found],
        "files": [
            {
                "name": v.name,
                "role": v.role,
                "user": v.user,
                "accepted": v.accepted,
                "reason": v.reason,
                "not_after": rfc3339(ends.get(v.name)),
            }
            for v in judged
        ],
    }


def _findings(target: Target, scan: Scan, judged: tuple[Verdict, ...], now: datetime) -> Iterator[Finding]:
    wants = wants_for(target.policy.wants, scan.pairs)
    policy = under(replace(target.policy, wants=wants), (target.terms,))
    plan = decide(policy, Snapshot(scan.directory, scan.pairs, scan.strangers, euid=os.geteuid()), now)
    accepted = {v.name for v in judged if v.accepted}
    client_only = not target.serving and any(p.name.role is Role.CLIENT and p.cert for p in scan.pairs)
    orphans = {p.name.stem for p in scan.pairs if p.cert is None and p.name not in {NODE, CA}}
    for found in plan.findings:
        ignored = names.stem_of(found.file) in orphans and found.code not in {
            "cert.missing",
            "key.mode",
            "name.unknown",
        }
        if found.code.startswith(OF_CHECK) and not ignored:
            yield _remedied(target, _weighed(target, found, accepted, orphans, client_only=client_only))
    yield from _tenants(judged)


def wants_for(configured: tuple[Want, ...], pairs: tuple[Pair, ...]) -> tuple[Want, ...]:
    """Given what is configured and what lies there, return what cockroach needs of each: principals, usages.

    A directory needs `ca` and `node`, unless a configuration says otherwise; a key without a certificate is nobody's.
    """
    present = {p.name for p in pairs if p.cert is not None}
    known = {w.name for w in configured}
    split = Name(Role.CLIENT, "node") in present | known
    wants = list(configured)
    needed = set() if configured else {CA, NODE}
    for name in sorted((present | needed) - known, key=lambda n: n.stem):
        client = name.role in {Role.CLIENT, Role.TENANT} or (name == NODE and not split)
        server = name.role in {Role.NODE, Role.UI}
        principal = name.subject if name.role is Role.CLIENT else "node" if name == NODE and not split else None
        wants.append(Want(name, (), principal=principal, server=server, client=client))
    return tuple(wants)


def _weighed(target: Target, found: Finding, accepted: set[str], orphans: set[str], *, client_only: bool) -> Finding:
    """A finding of the agent's as cockroach would weigh it: what it reads all the same is a warning."""
    if found.code == "key.owner" and f"{found.file.removesuffix('.key')}.crt" in accepted:
        return replace(found, severity="warning", message=f"{found.message}; cockroach can read it all the same")
    if found.code == "cert.untrusted" and found.file == "ui.crt" and found.message.startswith("not trusted by ca.crt"):
        message = f"{found.message}; nor by this system's roots: browsers must know its CA"
        return replace(found, severity="warning", message=message)
    if found.code == "dir.foreign" and not target.configured:
        return replace(found, severity="info", remedy="none needed: whoever writes them renews them")
    if found.code == "cert.missing" and found.file == "node.crt" and client_only:
        message = "node.crt is missing: no server starts with this directory; a client needs none"
        return replace(found, severity="warning", message=message)
    if found.code == "cert.missing" and (stem := names.stem_of(found.file)) in orphans:
        return replace(found, severity="warning", message=f"{stem}.key has no certificate: cockroach ignores it")
    return found


def _remedied(target: Target, found: Finding) -> Finding:
    """Without a configuration there is nobody to renew anything: the remedy names the file, not our verb."""
    if target.configured:
        return found
    if found.code == "ca.missing":
        return replace(found, remedy="put the CA's certificate there")
    if "certagent renew" not in found.remedy:
        return found
    stem = names.stem_of(found.file)
    wanted = " with the names and addresses by which it is reached" if found.code == "cert.san" else ""
    return replace(found, remedy=f"have {stem}.crt issued again{wanted}, and put it there together with its key")


def _tenants(judged: tuple[Verdict, ...]) -> Iterator[Finding]:
    for verdict in judged:
        if not tenant_named(verdict):
            message = "the tenant's id is not a number: cockroach refuses the whole directory"
            yield Finding("name.unknown", "critical", verdict.name, message, "rename it, or move it out")


def worst(documents: list[dict[str, Any]]) -> str:
    """The worst severity of several verdicts."""
    return max((str(d["severity"]) for d in documents), key=SEVERITIES.index, default="ok")
