"""What `certagent check` checks: a directory and a user, a running process, or what a configuration names.

It needs neither a configuration nor a daemon, and changes nothing. Each target is read with the rights of its user, and
links are followed; core/judging.py decides about what was read.
"""

import os
import pwd
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from certagent import process as procs
from certagent.certs_dir import Runner, load
from certagent.core.facts import LoaderFlags, Snapshot
from certagent.core.judging import Target, document, worst
from certagent.core.policy import Owner, Policy
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from certagent.process.arguments import release_in

__all__ = ["Target", "check", "configured_target", "directory_target", "own_terms", "process_target", "worst"]


def own_terms(options: Sequence[str], release: str = "") -> LoaderFlags:
    """The loader flags of a process with the environment of this program, these options and that version.

    HostError where it is not a version.
    """
    found = release_in(f"cockroach-v{release.removeprefix('v')}")
    if release and found is None:
        raise HostError(f"cannot use --release {release}: write it as in 24.1")
    return replace(procs.terms_of(["", *options], os.environ), release=found)


def directory_target(path: str, user: str, terms: LoaderFlags) -> Target:
    """Given a directory and a user ("": its owner), return the target; HostError if there is no such user."""
    path = os.path.abspath(path)
    try:
        account = pwd.getpwnam(user) if user else pwd.getpwuid(_owner_of(path))
    except KeyError as error:
        whom = f"user {user!r}" if user else f"name for the owner of {path}"
        raise HostError(f"cannot check {path}: there is no {whom}; name another user with --user") from error
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


def configured_target(policy: Policy, terms: LoaderFlags) -> Target:
    """A certs-dir of the configuration, judged by the flags of the process that owns it, where one runs."""
    try:
        info = os.stat(policy.path)
        found = procs.find(info.st_dev, info.st_ino, policy.process, policy.owner)
        owners = [p for p in found if not p.strange]
    except OSError:
        owners = []
    return Target(policy, owners[0].terms if owners else terms, policy.owner.gid, serving=bool(owners))


def check(target: Target) -> dict[str, Any]:
    """The verdict on one target, as a JSON-able document."""
    policy, owner, now = target.policy, target.policy.owner, clock()
    runner = Runner(owner.uid, owner.gid, target.groups)
    scan = load(policy.path, now, runner, target.root, configured_roots=policy.roots, split=policy.split)
    seen = Snapshot(scan.directory, scan.pairs, scan.unmanaged_files, scan.loose_keys, euid=os.geteuid())
    return document(target, seen, now)
