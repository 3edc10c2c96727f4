"""Findings about the directory, unmanaged files in it, the clock, the ledger and the file watch."""

from dataclasses import replace
from shlex import quote

from certagent.core import names
from certagent.core.actions import Recover
from certagent.core.catalogue import (
    AGENT_DOWN,
    CLOCK_UNSOUND,
    DIR_FOREIGN,
    DIR_MISSING,
    DIR_MODE,
    DIR_OWNER,
    DIR_STAGING,
    DIR_TOO_LARGE,
    INSTALL_BLOCKED,
    LEDGER_UNWRITABLE,
    NAME_UNKNOWN,
)
from certagent.core.decide import ahead
from certagent.core.decide.ca_keys import of_cas
from certagent.core.decide.part import Part, saying
from certagent.core.facts import Directory, ObserveOnly, Snapshot, Why
from certagent.core.findings import Finding
from certagent.core.policy import Policy
from certagent.core.spans import stamp
from certagent.core.view import View

SHOWN = 3  # of what is odd in the staging area
UNFINISHED = "a swap stopped half-way and could be neither finished nor undone: a key may not match its certificate"
# What other tools call the files: Kubernetes' secrets of type tls, as cert-manager writes them, and PostgreSQL.
RENAMED = {
    "tls.crt": "node.crt", "tls.key": "node.key", "server.crt": "node.crt", "server.key": "node.key",
    "root.crt": "ca.crt", "ca-cert.crt": "ca.crt", "cacert.crt": "ca.crt",
}  # fmt: skip


def part(view: View) -> Part:
    """Findings about the surroundings; and the recovery of an interrupted swap."""
    directory = view.snapshot.directory
    others = () if directory.left_alone else (*_strangers(view.snapshot), *_tenants(view.snapshot))
    findings = [*_directory(view.policy, directory), *others, *_agent(view)]
    actions = (Recover("a swap was interrupted"),) if directory.interrupted and directory.managed else ()
    return Part(actions, findings=tuple(findings)) if actions else saying(findings)


def _directory(policy: Policy, directory: Directory) -> list[Finding]:
    path = directory.path
    if directory.left_alone and (only := directory.observe_only):
        return [DIR_FOREIGN.found(path, only.reason, "critical", only.remedy)]
    if not directory.exists:
        return [_missing(policy, directory)]
    found = []
    if directory.problem:
        remedy = "configure the directory itself" if directory.not_directory else "give the agent's user access to it"
        message = f"{path} cannot be read: {directory.problem}"
        found.append(DIR_MISSING.found(path, message, remedy=directory.advice or remedy))
    if directory.observe_only and not directory.problem:
        found.append(_observed(policy, directory.observe_only, path))
    if directory.managed and not directory.problem and directory.uid != policy.owner.uid:
        who = "root" if directory.uid == 0 else f"uid {directory.uid}"
        message = f"{path} belongs to {who}, but owner = {policy.owner.user!r} is configured"
        found.append(
            DIR_OWNER.found(path, message, remedy=f"chown {policy.owner.user} {quote(path)}, or correct `owner`")
        )
    if directory.odd:
        found.append(_odd(path, directory.odd))
    if directory.interrupted and directory.managed:
        found.append(INSTALL_BLOCKED.found(path, UNFINISHED, remedy="certagent recover, which says what prevents it"))
    if directory.too_large:
        found.append(DIR_TOO_LARGE.found(path, directory.too_large))
    if directory.shared:
        message = f"the mode is {directory.mode:04o}, so other users may replace files in the directory"
        found.append(DIR_MODE.found(path, message, remedy=f"chmod go-w {quote(path)}"))
    return found


def _missing(policy: Policy, directory: Directory) -> Finding:
    path = directory.path
    if directory.problem:
        remedy = f"create that directory, or correct the link: ln -sfn TARGET {quote(path)}"
        return DIR_MISSING.found(path, f"{path} does not exist: {directory.problem}", remedy=remedy)
    remedy = f"install -d -m 0700 -o {policy.owner.user} {quote(path)}"
    return DIR_MISSING.found(path, f"{path} does not exist", remedy=remedy)


def _observed(policy: Policy, only: ObserveOnly, path: str) -> Finding:
    """Why nothing is changed there; where the configuration has another tool rotate, that is as it should be."""
    if only.why in (Why.KUBERNETES, Why.MOUNT) and not any(w.authorities for w in policy.wants):
        remedy = "nothing to do: the tool that manages the files renews them"
        return DIR_FOREIGN.found(path, only.reason, "info", remedy)
    return DIR_FOREIGN.found(path, only.reason, remedy=only.remedy)


def _odd(path: str, odd: tuple[str, ...]) -> Finding:
    """What is not ours in the staging area, whatever it is, is one finding."""
    more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
    message = f".certagent contains what certagent did not put there: {', '.join(odd[:SHOWN])}{more}"
    named = " ".join(quote(f"{path}/.certagent/{each}") for each in odd[:SHOWN])
    remedy = f"find out what it is, then remove it: rm -r {named}"
    return DIR_STAGING.found(path, message, remedy=remedy)


def _strangers(snapshot: Snapshot) -> list[Finding]:
    found: list[Finding] = []
    if not snapshot.unmanaged_files:
        return found
    cas = of_cas(snapshot)
    for file in (f for f in snapshot.unmanaged_files if f.name not in cas):
        parsed = names.parse(names.stem_of(file.name))
        reason = parsed.reason if isinstance(parsed, names.Unknown) else f"it is a {file.kind}"
        instead = RENAMED.get(file.name)
        found.append(NAME_UNKNOWN.found(file.name, reason, remedy=f"rename it to {instead}" if instead else None))
    return found


def _tenants(snapshot: Snapshot) -> list[Finding]:
    """Tenants' files whose name has no valid tenant id: for one of them cockroach loads nothing at all."""
    message = "the tenant's id is not an unsigned 64-bit number: cockroach refuses the whole directory"
    bad = [p.cert.file.name for p in snapshot.pairs if p.cert and p.listed and not p.name.numbered]
    return [NAME_UNKNOWN.found(file, message, "critical") for file in bad]


def _agent(view: View) -> list[Finding]:
    snapshot = view.snapshot
    found = [_down(view, f) if f.rule is AGENT_DOWN else f for f in snapshot.degraded]
    if not snapshot.clock.sound:
        found.append(CLOCK_UNSOUND.found("", snapshot.clock.reason))
    elif jump := ahead.jumped(view.now, snapshot.clock.steady):
        found.append(jump)
    found += ahead.findings(view)
    if snapshot.ledger_problem:
        found.append(LEDGER_UNWRITABLE.found("", snapshot.ledger_problem))
    return found


def _down(view: View, found: Finding) -> Finding:
    """Without an agent nothing renews a pair: critical as soon as one is due."""
    pairs = [(want.name.stem, want, view.pair(want.name.stem)) for want in view.policy.renewed]
    due = {stem: view.renew_at(want, p.effective) for stem, want, p in pairs if p is not None and p.effective}
    late = [stem for stem, at in due.items() if at <= view.now]
    if not late:
        return found
    since = min(due[stem] for stem in late)
    message = f"{found.message}; the renewal of {', '.join(late)} has been due since {stamp(since)}"
    return replace(found, severity="critical", message=message)
