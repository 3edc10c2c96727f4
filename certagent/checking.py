"""Judging a certs-dir as it lies there.

For `certagent check`, which needs no configuration, no daemon and changes nothing.
"""

import os
import pwd
import sys
from datetime import UTC, datetime
from typing import Any

from certagent.core.actions import Finding
from certagent.core.decide import SEVERITIES, decide
from certagent.core.facts import Pair, Snapshot
from certagent.core.names import NODE, Name, Role
from certagent.core.policy import Owner, Policy, Want
from certagent.core.rules import key_mode_accepted
from certagent.core.status import finding
from certagent.host.certs import Scanner

OF_CHECK = ("cert.", "key.", "ca.", "name.", "dir.")


def policy_for(path: str, user: str) -> list[Policy] | None:
    """Given a directory and the user cockroach runs as, return what its own files make it want.

    None after an error was printed.
    """
    path = os.path.abspath(path)
    try:
        account = pwd.getpwnam(user) if user else pwd.getpwuid(os.stat(path).st_uid)
    except (KeyError, OSError) as error:
        print(f"certagent: cannot check {path}: {error if not user else f'there is no user {user!r}'}", file=sys.stderr)
        return None
    present = {p.name for p in Scanner().scan(path, datetime.now(UTC)).pairs}
    return [Policy(path, Owner(account.pw_name, account.pw_uid, account.pw_gid), "", wants_of(present))]


def wants_of(present: set[Name]) -> tuple[Want, ...]:
    """Given the names in a directory, return what cockroach needs of each: principals and extended key usages."""
    split = Name(Role.CLIENT, "node") in present
    wants = []
    for name in sorted(present, key=lambda n: n.stem):
        client = name.role in {Role.CLIENT, Role.TENANT} or (name == NODE and not split)
        server = name.role in {Role.NODE, Role.UI}
        principal = name.subject if name.role is Role.CLIENT else "node" if name == NODE and not split else None
        wants.append(Want(name, (), principal=principal, server=server, client=client))
    return tuple(wants)


def check_directory(policy: Policy) -> dict[str, Any]:
    """The verdict on one directory."""
    scan = Scanner().scan(policy.path, datetime.now(UTC))
    snapshot = Snapshot(scan.directory, scan.pairs, scan.strangers, euid=os.geteuid())
    plan = decide(policy, snapshot, datetime.now(UTC))
    found = tuple(f for f in plan.findings if f.code.startswith(OF_CHECK))
    files = [entry(policy, p, found) for p in scan.pairs if p.cert is not None]
    return {
        "version": 1,
        "certs_dir": policy.path,
        "severity": severity_of(found),
        "findings": [finding(f) for f in found],
        "files": files,
    }


def severity_of(findings: tuple[Finding, ...]) -> str:
    """The worst of some findings."""
    return max((f.severity for f in findings), key=SEVERITIES.index, default="ok")


def entry(policy: Policy, pair: Pair, findings: tuple[Finding, ...]) -> dict[str, Any]:
    """Cockroach's own decision about one file when it loads it."""
    reason = refused(policy, pair, findings)
    name = pair.name
    return {
        "name": f"{name.stem}.crt",
        "role": name.role.value,
        "user": name.subject if name.role is Role.CLIENT else "",
        "accepted": not reason,
        "reason": reason,
    }


def refused(policy: Policy, pair: Pair, findings: tuple[Finding, ...]) -> str:
    """Why cockroach would refuse the entry, "" where it takes it.

    A mismatch, an expiry or a wrong CA it does not see.
    """
    if pair.leaf is None:
        return pair.cert.problem or "cannot be read" if pair.cert else "missing"
    if pair.name.is_bundle:
        return ""
    if pair.key is None:
        return "the key is missing"
    if not key_mode_accepted(pair.key.file, policy.owner.gid):
        return f"the key's mode is {pair.key.file.mode:04o}"
    principal = [f.message for f in findings if f.code == "cert.principal" and f.file == f"{pair.name.stem}.crt"]
    return principal[0] if principal else ""


def worst(documents: list[dict[str, Any]]) -> str:
    """The worst severity of several verdicts."""
    return max((str(d["severity"]) for d in documents), key=SEVERITIES.index, default="ok")
