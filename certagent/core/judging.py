"""The verdict of `certagent check` on a certs-dir: what cockroach's loader says, and what fails only later.

The rules are those of the agent (rules.py, decide) with other severities. Without a configuration a directory is
checked for what cockroach needs, and no remedy names a certagent command.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from shlex import quote
from typing import Any

from certagent.core import names
from certagent.core.catalogue import (
    CA_MISSING,
    CERT_ADDRESS,
    CERT_IRREGULAR,
    CERT_MISSING,
    CERT_SAN,
    CERT_UNTRUSTED,
    DIR_FOREIGN,
    DIR_OWNER,
    KEY_IRREGULAR,
    KEY_MISSING,
    KEY_OWNER,
    OF_DIRECTORIES,
)
from certagent.core.decide import decide
from certagent.core.facts import LoaderFlags, Pair, Snapshot
from certagent.core.findings import SEVERITIES, Finding, Is, worst_of
from certagent.core.loading import Verdict, start_doubt, start_problem, verdicts
from certagent.core.names import CLIENT_NODE
from certagent.core.policy import Policy, Want, under
from certagent.core.roles import KINDS, SYSTEM
from certagent.core.spelling import spelled
from certagent.core.status import finding, rfc3339

ABSENT = frozenset({CERT_MISSING, CA_MISSING, KEY_MISSING})


@dataclass(frozen=True, slots=True)
class Target:
    """One directory to judge: where it is, whom cockroach runs as, and what its process changes."""

    policy: Policy
    terms: LoaderFlags
    gid: int  # real, of the process
    groups: tuple[int, ...] | None = None
    root: str = ""
    pid: int | None = None
    serving: bool = False  # a server loads it: without node.crt it does not start

    @property
    def configured(self) -> bool:
        """A configuration manages it."""
        return bool(self.policy.wants)


def document(target: Target, seen: Snapshot, now: datetime) -> dict[str, Any]:
    """Given a target and its files, return the verdict as a JSON-able document."""
    judged = verdicts(seen.pairs, seen.unmanaged_files, target.gid, target.terms)
    blind = _blind(target, seen)
    found = [_unseen(f, target, blind[f.file]) if f.file in blind else f for f in findings(target, seen, judged, now)]
    problem = seen.directory.problem or (
        start_problem(judged, seen.pairs) if seen.directory.exists else "the directory does not exist"
    )
    judgement = {
        "version": 1,
        "certs_dir": target.policy.path,
        "user": target.policy.owner.user,
        "pid": target.pid,
        "severity": worst(worst_of(f.severity for f in found), *(["unknown"] if blind else [])),
        "start": _start(problem or start_doubt(judged), accepted=not problem, unknown=next(iter(blind.values()), "")),
        "findings": [finding(f) for f in found],
        "files": [_not_read(f, blind) for f in _files(judged, seen.pairs)],
    }
    return {key: spelled(value) for key, value in judgement.items()}


def _files(judged: tuple[Verdict, ...], pairs: tuple[Pair, ...]) -> list[dict[str, Any]]:
    known = {f"{p.name.stem}.crt": p for p in pairs}
    return [
        {
            "name": v.name,
            "role": v.role,
            "user": v.user,
            "accepted": v.accepted,
            "reason": v.reason,
        }
        | _ends(known.get(v.name))
        for v in judged
    ]


def _ends(pair: Pair | None) -> dict[str, Any]:
    """When the certificate expires, and when its chain does: the earliest of leaf, intermediates and root."""
    leaf, effective = (pair.leaf, pair.effective) if pair else (None, None)
    return {
        "not_after": rfc3339(leaf.not_after) if leaf else None,
        "chain_ends": rfc3339(effective.not_after) if effective else None,
        "chain_ends_by": (pair.ends_by or None) if pair else None,
    }


def findings(target: Target, seen: Snapshot, judged: tuple[Verdict, ...], now: datetime) -> list[Finding]:
    """Given a target, its files and cockroach's decision on them, return the findings, the worst first."""
    found = dict.fromkeys(_of_agent(target, seen, judged, now))
    return sorted(found, key=lambda f: (-SEVERITIES.index(f.severity), f.file))


def _of_agent(target: Target, seen: Snapshot, judged: tuple[Verdict, ...], now: datetime) -> Iterator[Finding]:
    wants = wants_for(target.policy.wants, seen.pairs)
    plan = decide(under(replace(target.policy, wants=wants), (target.terms,)), seen, now)
    accepted = {v.name for v in judged if v.accepted}
    client_only = not target.serving and any(p.name.kind.part == "user" and p.cert for p in seen.pairs)
    orphans = {p.name.stem for p in seen.pairs if p.cert is None and p.name.kind.at_start != "required"}
    by_owner = {f.file: f.remedy for f in plan.findings if f.rule is KEY_OWNER}
    unreadable = {f.file for f in plan.findings if _unreadable(seen, f)}
    for found in in_their_place(target.policy.path, seen, plan.findings, orphans):
        if found.rule is KEY_OWNER and found.file in unreadable:
            continue  # key.irregular has its remedy
        if found.rule is DIR_OWNER and not target.configured:
            continue  # nobody configured an owner: cockroach needs to read the files, not to own them
        ignored = names.stem_of(found.file) in orphans and Is.OF_LONE_KEYS not in found.rule.flags
        if found.rule.area in OF_DIRECTORIES and not ignored:
            weighed = _weighed(target, seen, found, accepted=accepted, orphans=orphans, client_only=client_only)
            remedied = _remedied(target, seen, weighed)
            chown = by_owner.get(found.file) if found.file in unreadable else None
            yield replace(remedied, remedy=chown) if chown else remedied


def in_their_place(path: str, seen: Snapshot, findings: tuple[Finding, ...], orphans: set[str]) -> Iterator[Finding]:
    """Where a directory has the name of a needed file, that is the one finding: the file is not called missing.

    `orphans`: the stems of keys whose certificate is not needed.
    """
    folders = {f.name for f in seen.unmanaged_files if f.kind == "directory" and names.stem_of(f.name) not in orphans}
    missing = {f.file for f in findings if f.rule in ABSENT and f.file in folders}
    for found in findings:
        if found.file not in missing:
            yield found
        elif found.rule in ABSENT:
            message, where = f"{found.file} is a directory, which cockroach skips", quote(f"{path}/{found.file}")
            remedy = f"move it away: mv {where}{{,.away}}; then copy the file there"
            rule = KEY_IRREGULAR if found.rule is KEY_MISSING else CERT_IRREGULAR
            yield rule.found(found.file, message, remedy=remedy)


def wants_for(configured: tuple[Want, ...], pairs: tuple[Pair, ...]) -> tuple[Want, ...]:
    """Given what is configured and which files exist, return what cockroach needs of each: principals, usages.

    A directory needs `ca` and `node`, unless a configuration says otherwise; a key without a certificate is ignored.
    """
    present = {p.name for p in pairs if p.cert is not None}
    known, wants = {w.name for w in configured}, list(configured)
    split = CLIENT_NODE in present | known
    required = set() if configured else {names.Name(k.role) for k in KINDS if k.at_start == "required"}
    for name in sorted((present | required) - known, key=lambda n: n.stem):
        use = name.kind.needed(name.subject, split=split)
        wants.append(Want(name, (), principal=use.principal, server=use.server, client=use.client))
    return tuple(wants)


def _weighed(
    target: Target, seen: Snapshot, found: Finding, *, accepted: set[str], orphans: set[str], client_only: bool
) -> Finding:
    """A finding with the severity that it has for cockroach: a file that it still loads is a warning.

    `accepted`: the names that it accepts; `orphans`: the stems of keys without a certificate.
    """
    if found.rule is KEY_OWNER and f"{found.file.removesuffix('.key')}.crt" in accepted:
        return replace(found, severity="warning", message=f"{found.message}; cockroach can still read it")
    pair = seen.pair(names.stem_of(found.file))
    if found.rule is CERT_UNTRUSTED and pair and SYSTEM in pair.name.kind.bundles_in(seen.listed_bundles):
        return replace(found, severity="warning", message=f"{found.message}; browsers must trust its CA")
    if found.rule is DIR_FOREIGN and not target.configured:
        return replace(found, severity="info", remedy="nothing to do: the tool that manages the files renews them")
    if found.rule is CERT_MISSING and found.file == "node.crt" and client_only:
        message = "node.crt is missing: a node does not start with this directory, a client does not need the file"
        return replace(found, severity="warning", message=message)
    if found.rule is CERT_MISSING and (stem := names.stem_of(found.file)) in orphans:
        return replace(found, severity="warning", message=f"{stem}.key has no certificate: cockroach ignores it")
    return found


def _remedied(target: Target, seen: Snapshot, found: Finding) -> Finding:
    """Without a configuration nothing renews the file: the remedy names the file, not a command."""
    if target.configured:
        return found.without_agent() if target.policy.want(names.stem_of(found.file)) else found.unmanaged()
    if found.rule is CA_MISSING:
        return replace(found, remedy="copy the CA's certificate there")
    if _unreadable(seen, found):
        return replace(found, remedy=f"give {target.policy.owner.user} permission to read it")
    if not found.cure:
        return found
    stem = names.stem_of(found.file)
    wanted = " with the names and addresses of the host" if found.rule in {CERT_SAN, CERT_ADDRESS} else ""
    return replace(found, remedy=f"have {stem}.crt issued again{wanted}, and copy it there together with its key")


def _unreadable(seen: Snapshot, found: Finding) -> bool:
    """Whether a finding is about a file that this user may not read."""
    pair = seen.pair(names.stem_of(found.file))
    file = {CERT_IRREGULAR: pair.cert, KEY_IRREGULAR: pair.key}.get(found.rule) if pair else None
    return file is not None and file.problem_kind == "unreadable"


def _blind(target: Target, seen: Snapshot) -> dict[str, str]:
    """What this program may not read and cockroach may: each file, or the directory, with the reason.

    Nothing is known of it, unless this program is root, or the user that cockroach runs as.
    """
    path, whose = target.policy.path, target.policy.owner
    if seen.euid in {0, whose.uid}:
        return {}
    if seen.directory.problem:
        return {path: seen.directory.problem} if not seen.directory.not_directory else {}
    files = [(f"{p.name.stem}.{end}", file) for p in seen.pairs for end, file in (("crt", p.cert), ("key", p.key))]
    return {name: f"{name} {f.problem}" for name, f in files if f is not None and f.problem_kind == "unreadable"}


def _unseen(found: Finding, target: Target, reason: str) -> Finding:
    """A finding about what this program may not read says nothing of cockroach."""
    message = f"not checked: {reason}"
    return replace(found, severity="info", message=message, remedy=f"run this as root or as {target.policy.owner.user}")


def _start(reason: str, *, accepted: bool, unknown: str) -> dict[str, Any]:
    """Whether a node starts with the directory; null where that depends on what could not be read."""
    return {"accepted": None, "reason": unknown} if unknown else {"accepted": accepted, "reason": reason}


def _not_read(file: dict[str, Any], blind: dict[str, str]) -> dict[str, Any]:
    """The verdict on one file; null where it or its key could not be read."""
    stem = names.stem_of(file["name"])
    reason = next((blind[name] for name in (file["name"], f"{stem}.key") if name in blind), "")
    return {**file, "accepted": None, "reason": f"not checked: {reason}"} if reason else file


def worst(*severities: str) -> str:
    """The worst of several verdicts: what is critical is so whatever else could not be read."""
    found = set(severities)
    return "unknown" if "unknown" in found and "critical" not in found else worst_of(found - {"unknown"})
