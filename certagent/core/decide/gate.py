"""What blocks an installation also blocks a SIGHUP: a process never loads files that are worse than what it has loaded.

cockroach loads a certificate that is expired, of another CA, for another use or of another key, reports success, and
then fails every connection, while the certificate that it had loaded would still work. The agent keeps the files with
which a process was last verified (`Snapshot.loaded`). If it has none, it decides by the files on disk alone.

There are two kinds of fault. If the process could never use a file, only an operator's `--force` sends a signal. If a
fault makes connections fail, it blocks the signal unless what is loaded has the same fault or is expired itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from certagent.core.catalogue import (
    BUNDLE_BREAKS,
    CERT_EKU,
    CERT_NONSTANDARD,
    CERT_NOT_YET_VALID,
    CERT_PRINCIPAL,
    CERT_SAN,
    CERT_UNREAD,
    CERT_UNTRUSTED,
    SERVED_STALE,
)
from certagent.core.facts import Loaded, Pair, Process
from certagent.core.findings import Finding, Is, Rule
from certagent.core.hosts import hosts, hosts_of
from certagent.core.loading import Verdict, start_problem, tenant_named, verdicts
from certagent.core.names import CA, CA_CLIENT, NODE
from certagent.core.needs import missed
from certagent.core.policy import Want
from certagent.core.roles import SYSTEM
from certagent.core.rotation.roots import BY_MEMBERS
from certagent.core.rotation.serve import loading
from certagent.core.rules import key_mode_accepted, pair_findings
from certagent.core.serving import client_names, expected, loaded_by, of_process
from certagent.core.trust import is_split
from certagent.core.view import View

# Certificates that one version of cockroach loads and another one refuses, or that only certagent cannot read: the
# process that refuses one keeps what it has loaded, and one that takes it serves it.
DISPUTED = (CERT_NONSTANDARD, CERT_UNREAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Why no signal may go: the file at fault, one clause, and until when where that is known."""

    file: str
    reason: str
    until: datetime | None = None
    rule: Rule = SERVED_STALE  # what the finding is


def bar(view: View, process: Process) -> Bar | None:
    """The first reason why a process must not load what is on disk; None where it may."""
    found = next(_unusable(view, process), None)
    if found is None and not _dead(view, process):
        found = next(_worse(view, process), None)
    return found


def restarts(view: View, process: Process) -> str:
    """What becomes of a process that is started again with what is on disk."""
    judged = verdicts(view.snapshot.pairs, view.snapshot.unmanaged_files, process.gid, process.terms)
    problem = start_problem(judged, view.snapshot.pairs)
    return f"a restart would fail ({problem})" if problem else "a restart would load it too"


def undecided(view: View, process: Process) -> bool:
    """Whether nothing is known of what a process has loaded, and it was not yet offered the clients' pairs.

    That it refuses them is the only sign of a bundle whose CAs have the names of those on disk, and other keys.
    """
    answers, names = of_process(view.snapshot, process), client_names(view.snapshot)
    told = {s.address: s for s in answers if not s.client}
    served = {at: s for at, s in told.items() if s.kind == "sql" and s.outcome == "served"}
    ports = [at for at, s in served.items() if not s.client_cas or names == set(s.client_cas)]
    asked = {(s.address, s.client) for s in answers}
    offered = [p.name.stem for p in _offered(view) if p.matched and view.want(p.name.stem)]
    missing = any(x.address not in told and x.kind != "http" for x in process.listeners)
    missing = missing or any((at, stem) not in asked for at in ports for stem in offered)
    return bool(offered) and missing and loaded_by(view.snapshot, process) is None


def faults(view: View, pair: Pair, pairs: tuple[Pair, ...], process: Process | None = None) -> list[Finding]:
    """What makes connections fail with a certificate, among the other files of its directory."""
    need = pair.name.kind.needed(pair.name.subject, split=is_split(pairs, wanted=False))
    want = view.want(pair.name.stem)
    terms = (process.terms,) if process else view.policy.terms
    needed = Want(
        pair.name,
        (),
        want.names if want else None,
        need.principal,
        server=need.server,
        client=need.client,
        terms=terms,
        uris=want.uris if want else None,
    )
    return [
        f
        for f in pair_findings(needed, pair, view.now)
        if f.file[-4:] == ".crt" and Is.TOLERATED not in f.rule.flags and f.rule not in DISPUTED
    ]


def _unusable(view: View, process: Process) -> Iterator[Bar]:
    """What cockroach would refuse, or take and then fail every connection, whatever it has loaded now."""
    own = expected(view.snapshot, "sql")
    for stem in (CA.stem, own.name.stem if own else NODE.stem):
        if (found := view.pair(stem)) is None or found.cert is None:
            yield Bar(file=f"{stem}.crt", reason=f"{stem}.crt is missing")
    judged = verdicts(view.snapshot.pairs, view.snapshot.unmanaged_files, process.gid, process.terms)
    for verdict in judged:
        if not tenant_named(verdict):
            reason = f"{verdict.name} names no tenant by its number; cockroach refuses the whole directory"
            yield Bar(file=verdict.name, reason=reason)
    yield from _keyless(view, process)
    if loaded := loaded_by(view.snapshot, process):
        yield from _lost(view, loaded, judged)


def _keyless(view: View, process: Process) -> Iterator[Bar]:
    for pair in view.snapshot.live.loaded:
        stem = pair.name.stem
        if pair.cert and pair.cert.problem_kind == "unread":
            continue
        if pair.leaf is None:
            yield Bar(file=f"{stem}.crt", reason=f"{stem}.crt cannot be used")
        elif pair.name.is_bundle:
            if pair.cert and not pair.cert.pooled:
                yield Bar(file=f"{stem}.crt", reason=f"{stem}.crt has no certificate without PEM headers to verify by")
        elif not pair.matched or pair.key is None:
            yield Bar(file=f"{stem}.key", reason=f"{stem}.key {_unmatched(pair)}")
        elif not process.terms.skip_key_check and not key_mode_accepted(pair.key.file, process.gid):
            reason = f"{stem}.key has mode {pair.key.file.mode:04o}; cockroach would refuse it"
            yield Bar(file=f"{stem}.key", reason=reason)


def _unmatched(pair: Pair) -> str:
    if pair.key is None:
        return "is missing"
    return f"cannot be used: {pair.key.problem}" if pair.key.spki is None else f"does not match {pair.name.stem}.crt"


def _lost(view: View, loaded: Loaded, judged: tuple[Verdict, ...]) -> Iterator[Bar]:
    """Cockroach refuses a reload that would lose a file that was valid before."""
    refused = {v.name: v.reason for v in judged if not v.accepted}
    for pair in loaded.pairs:
        kind, file = pair.name.kind, f"{pair.name.stem}.crt"
        if pair.leaf is None or not (kind.at_start or kind.bundle):
            continue
        if view.pair(pair.name.stem) is None or file in refused:
            why = refused.get(file, "it is gone")
            yield Bar(file=file, reason=f"cockroach would refuse a reload that loses {file}: {why}")


def _dead(view: View, process: Process) -> bool:
    """Whether nothing can become worse: what is loaded is out of its validity, or every handshake fails."""
    loaded = loaded_by(view.snapshot, process)
    own = expected(view.snapshot, "sql")
    pair = loaded.pair(own.name.stem) if loaded and own else None
    leaf = pair.effective if pair else None
    if leaf and not leaf.not_before <= view.now < leaf.not_after:
        return True
    told = [s for s in of_process(view.snapshot, process) if not s.client]
    return bool(told) and all(s.outcome == "refused" for s in told)


def _worse(view: View, process: Process) -> Iterator[Bar]:
    """What would fail that works with what is loaded now."""
    loaded = loaded_by(view.snapshot, process)
    for pair in view.snapshot.live.loaded:
        if not pair.name.is_bundle:
            yield from _worse_pair(view, process, loaded, pair)
    if loaded is None:
        yield from _unknown(view, process)
    elif broken := _broken(view, loaded):
        yield _breaking(view, loaded, broken)
    for file, lost in ((f"{stem}.crt", lost) for stem in BY_MEMBERS for lost in missed(view, process, stem)):
        why = f"{file} lacks {lost.ca.subject}, which may be needed by {', '.join(lost.who)}"
        yield Bar(file=file, reason=why, rule=BUNDLE_BREAKS)
    for waits in loading(view, process):
        yield Bar(file=f"{waits.stem}.crt", reason=f"{waits.stem}.crt: {waits.held.why}", until=waits.held.until)


def _worse_pair(view: View, process: Process, loaded: Loaded | None, pair: Pair) -> Iterator[Bar]:
    before, stem = loaded.pair(pair.name.stem) if loaded else None, pair.name.stem
    served = loaded is None and _is_served(view, process, pair)
    same = faults(view, before, loaded.pairs, process) if loaded and before else []
    found = sorted(faults(view, pair, view.snapshot.pairs, process), key=lambda f: f.severity != "critical")
    for fault in found:
        if served and fault.rule is not CERT_UNTRUSTED:
            continue  # connections that use it work now; only the bundle on disk may be another one than is loaded
        lost = fault.rule is CERT_SAN and _loses_name(view, pair, before)
        if (lost or not _known(fault, same)) and not (before is None and _doubtful(view, fault, pair, loaded)):
            early = pair.leaf.not_before if fault.rule is CERT_NOT_YET_VALID and pair.leaf else None
            yield Bar(file=_at_fault(fault, pair, pair if served else before), reason=_told(fault, pair), until=early)
    if (revoked := view.snapshot.revoked(pair.leaf)) and not view.snapshot.revoked(before.leaf if before else None):
        yield Bar(file=f"{stem}.crt", reason=f"{stem}.crt: {revoked}")


def _known(fault: Finding, before: list[Finding]) -> bool:
    """Whether what is loaded has the same fault; a usage that it lacks says nothing of the other one."""
    return any(f.rule is fault.rule and (fault.rule is not CERT_EKU or f.message == fault.message) for f in before)


def _loses_name(view: View, pair: Pair, before: Pair | None) -> bool:
    """Whether a configured name is gone that the loaded certificate has."""
    want = view.want(pair.name.stem)
    if want is None or before is None or before.leaf is None or pair.leaf is None:
        return False
    have, had = hosts_of(pair.leaf), hosts_of(before.leaf)
    return any(h in had and h not in have for h in hosts(want.names or ()))


def _at_fault(fault: Finding, pair: Pair, before: Pair | None) -> str:
    """The file to repair: of a certificate that is the same as before and verified then, the bundle."""
    same = pair.leaf and before and before.leaf and before.leaf.fingerprint == pair.leaf.fingerprint
    return f"{pair.trust.bundle}.crt" if same and fault.rule is CERT_UNTRUSTED and pair.trust else fault.file


def _told(fault: Finding, pair: Pair) -> str:
    alone = fault.rule is CERT_PRINCIPAL and pair.name == NODE
    if alone:
        return f"there is no client.node.crt, and node.crt does not act for it: {fault.message}"
    return f"{fault.file}: {fault.message}"


def _doubtful(view: View, fault: Finding, pair: Pair, loaded: Loaded | None) -> bool:
    """A fault that may well have been there before: with nothing to compare with it bars nothing.

    A console that was served by node.crt is something to compare with.
    """
    if loaded is not None and fault.severity == "critical":
        return False
    browsers = fault.rule is CERT_UNTRUSTED and SYSTEM in pair.name.kind.bundles_in(view.snapshot.listed_bundles)
    return fault.severity != "critical" or fault.rule is CERT_SAN or browsers


def _is_served(view: View, process: Process, pair: Pair) -> bool:
    """Whether a port already returns this certificate."""
    told = [s for s in of_process(view.snapshot, process) if s.outcome == "served" and not s.client]
    return pair.leaf is not None and any(
        s.fingerprint == pair.leaf.fingerprint and expected(view.snapshot, s.kind) == pair for s in told
    )


def _unknown(view: View, process: Process) -> Iterator[Bar]:
    """Nothing was kept of what is loaded: our own clients' certificates have to verify, and no named CA may go."""
    for pair in view.snapshot.pairs:
        wanted = pair.name.kind.offered and view.want(pair.name.stem)
        if wanted and pair.leaf and pair.trust and pair.trust.problem and pair.leaf.not_after > view.now:
            file = f"{pair.trust.bundle}.crt"
            yield Bar(file=file, reason=f"{pair.name.stem}.crt does not verify by {file}: {pair.trust.problem}")
    names = client_names(view.snapshot)
    told = [s for s in of_process(view.snapshot, process) if s.outcome == "served" and not s.client]
    if process.found_by == "arguments" and any(set(s.client_cas) - names for s in told):
        yield Bar(file="ca.crt", reason="the bundles on disk lack a CA whose clients the process accepts now")
    yield from _strange(view, process)


def _offered(view: View) -> list[Pair]:
    """The pairs of clients that verify by the bundle on disk which verifies clients."""
    bundle = view.snapshot.pair(CA_CLIENT.stem) or view.snapshot.pair(CA.stem)
    pairs = [p for p in view.snapshot.pairs if p.name.kind.offered and p.trust and not p.trust.problem]
    return [p for p in pairs if p.trust and bundle and p.trust.bundle == bundle.name.stem]


def _strange(view: View, process: Process) -> Iterator[Bar]:
    """A process that refuses a pair of every root of a bundle trusts none of them: it would lose whom it accepts."""
    told = [s for s in of_process(view.snapshot, process) if s.outcome == "refused" and s.client and not s.sqlstate]
    refused = {(s.client, s.client_fingerprint) for s in told}
    pairs = [p for p in _offered(view) if p.leaf and (p.name.stem, p.leaf.fingerprint) in refused]
    bundle = view.snapshot.pair(pairs[0].trust.bundle) if pairs and pairs[0].trust else None
    roots = {c.spki for c in bundle.cert.certificates} if bundle and bundle.cert else set()
    if bundle and roots <= {anchor for p in pairs if p.trust for anchor in p.trust.anchors}:
        file, named = f"{bundle.name.stem}.crt", ", ".join(f"{p.name.stem}.crt" for p in pairs)
        yield Bar(file=file, reason=f"the process trusts no CA of {file}: it refuses {named}")


def _broken(view: View, loaded: Loaded) -> list[str]:
    """What is needed and would no longer verify: of clients' pairs those that are configured here."""
    live = [stem for stem in loaded.breaks if (p := view.pair(stem)) and (p.name.kind.loaded or view.want(stem))]
    return [f"{stem}.crt" for stem in live] + [f"the loaded {stem}.crt" for stem in loaded.outdated]


def _breaking(view: View, loaded: Loaded, broken: list[str]) -> Bar:
    """The bundle that lost what they need, and what would break."""
    bundles = {p.name.stem: p.cert.digest for p in loaded.pairs if p.name.is_bundle and p.cert}
    changed = [
        p.name.stem
        for p in view.snapshot.pairs
        if p.name.is_bundle and p.cert and bundles.get(p.name.stem) != p.cert.digest
    ]
    file = f"{(*changed, CA.stem)[0]}.crt"
    return Bar(file=file, reason=f"{file} no longer verifies {', '.join(broken)}")
