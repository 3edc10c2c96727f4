"""The steps in which a live host moves from one layout to another, and the files that its layout does not request.

No phase is stored: each step waits until the facts that it needs are observed. A node keeps its dual-purpose
certificate until `client.node` is loaded. A client pair of a new CA waits until the processes accept that CA.
A pair of another CA waits until the other nodes were shown to accept it (rotation.py).
Rejected: blocking a node's renewal until `client.node` exists, because the certificate could expire.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from certagent.core.catalogue import LAYOUT_SUPERFLUOUS
from certagent.core.decide import failover
from certagent.core.decide.part import NOTHING, Part, blocked, saying
from certagent.core.facts import Leaf, LoaderFlags, Pair, Process, Snapshot, Staged
from certagent.core.facts.history import VERIFIED
from certagent.core.findings import Finding, Severity
from certagent.core.names import CA, CA_CLIENT, CLIENT_NODE, NODE, Name
from certagent.core.policy import Want
from certagent.core.principals import NODE_USER, refused_principal
from certagent.core.roles import KINDS
from certagent.core.serving import of_process
from certagent.core.trust import bundles_for, is_split
from certagent.core.view import View

PATIENCE = timedelta(minutes=1)


def part(view: View) -> Part:
    """Files that were not requested, and steps that wait for a person."""
    return _superfluous(view) + _dual(view)


def verifier(view: View, name: Name) -> str:
    """The stem of the bundle that verifies a leaf, or will once it is made; "" where nothing does."""
    return name.kind.bundle_in(view.snapshot.listed_bundles | view.policy.bundles)


def needed(view: View, name: Name) -> tuple[str, ...]:
    """The bundles without which no certificate of that name verifies: its own, and those there that verify it too."""
    split = is_split(view.snapshot.pairs, wanted=view.policy.split)
    own, also = verifier(view, name), bundles_for(name, view.snapshot.listed_bundles, split=split)[1:]
    return (own, *also) if own else ()


def carried_over_bundle(snapshot: Snapshot, want: Want) -> str:
    """Given a bundle that is to be made, return the stem of the one whose CAs come along, "" for none.

    Where clients have been verified by a more general bundle so far, a first specific one goes on accepting them.
    """
    of = next((k for k in KINDS if k.verified_by[:1] == (want.name.stem,) and "client" in k.verified_as), None)
    if of is None:
        return ""
    before = of.bundle_in(snapshot.bundles - {want.name.stem})
    clients = [p for p in snapshot.pairs if p.leaf and (is_client(p.name) or (p.name == NODE and is_node(snapshot, p)))]
    return before if before in snapshot.bundles and (clients or snapshot.own_processes) else ""


def first_of(view: View, want: Want, authority: str) -> bool:
    """Whether nothing here shows that the CA of a missing bundle existed: no certificate of its, none that it verifies.

    A lost embedded CA would be replaced without a word, and every host would have another one.
    """
    if any(a.kind == "issue" and a.authority == authority and a.outcome == "ok" for a in view.snapshot.attempts):
        return False
    others = view.snapshot.listed_bundles - {want.name.stem}
    kinds = [p.name.kind for p in view.snapshot.pairs if p.cert and not p.name.is_bundle]
    hanging = [k for k in kinds if not k.system_roots and k.bundle_in(others | {want.name.stem}) == want.name.stem]
    return all(k.bundle_in(others) in others for k in hanging)


def creating(view: View, authority: str) -> str:
    """The stem of the missing bundle here with which an embedded CA is created; "" where none will be."""
    known = next((a for a in view.snapshot.authorities if a.name == authority), None)
    if known is None or not known.uncreated:
        return ""
    made = (w for w in view.policy.wants if w.name.is_bundle and w.authorities[:1] == (authority,))
    missing = (w for w in made if w.name.stem not in view.snapshot.bundles)
    return next((w.name.stem for w in missing if first_of(view, w, authority)), "")


def is_client(name: Name) -> bool:
    """Whether it is a pair that servers take for a client's, whatever else is there."""
    return "client" in name.kind.verified_as


def keep_dual_purpose(view: View, want: Want) -> Want:
    """Given a want, return what may be asked for now: a node stays dual-purpose until `client.node` is loaded.

    cockroach refuses to reload a node that names no `node` while it has no `client.node`.
    """
    live = view.pair(NODE.stem)
    if want.name != NODE or want.client or not is_node(view.snapshot, live) or not not_in_use(view):
        return want
    mapped = {a for p in view.snapshot.own_processes for a, b in p.terms.principal_map if b == NODE_USER}
    named = [name for name in (live.principals if live else ()) if name in mapped]
    return replace(want, client=True, principal=named[0] if named else NODE_USER)


def waits(view: View, staged: Staged) -> Part | None:
    """Why a staged node.crt is not installed yet, for a minute: `client.node` is not loaded.

    Later the pre-install checks refuse it; where no `client.node` is configured, immediately.
    """
    if view.want(CLIENT_NODE.stem) is None:
        return None
    narrow = staged.pair.name == NODE and staged.pair.leaf and not is_node(view.snapshot, staged.pair)
    if not narrow or not is_node(view.snapshot, view.pair(NODE.stem)) or (why := not_in_use(view)) is None:
        return None
    until = staged.at + PATIENCE
    return (
        blocked("install", NODE.stem, f"the new node.crt does not name {NODE_USER!r}, and {why}", until)
        if view.now < until
        else None
    )


def is_node(snapshot: Snapshot, pair: Pair | None) -> bool:
    """Whether other nodes, with the flags of our own processes, would take the pair's leaf for a node."""
    terms = {p.terms for p in snapshot.own_processes} or {LoaderFlags()}
    if pair is None or pair.leaf is None:
        return False
    return not any(refused_principal(pair.name, NODE_USER, pair.leaf, t) for t in terms)


def not_in_use(view: View) -> str | None:
    """Why other nodes do not see `client.node` instead of `node` yet, or None if they do."""
    pair = view.pair(CLIENT_NODE.stem)
    if pair is None or not _sound(pair, view.now) or not is_node(view.snapshot, pair):
        return "client.node.crt is missing or invalid"
    slow = [p.pid for p in view.snapshot.own_processes if not _has_loaded(view.snapshot, p, pair)]
    return f"pid {slow[0]} has not loaded client.node.crt yet" if slow else None


def _sound(pair: Pair, now: datetime) -> bool:
    trusted = pair.trust is None or pair.trust.problem is None
    return pair.matched and trusted and pair.leaf is not None and pair.leaf.not_before <= now < pair.leaf.not_after


def _has_loaded(snapshot: Snapshot, process: Process, pair: Pair) -> bool:
    """By the metric of the process; without one by a verified reload, or a start, after the file was installed."""
    told = {s.node_client_expiry for s in of_process(snapshot, process) if s.node_client_expiry}
    if told and pair.leaf:
        return int(pair.leaf.not_after.timestamp()) in told
    arrived, sent = _arrived(snapshot, pair), snapshot.history.signals(process)
    return process.started > arrived or any(a.at >= arrived and a.outcome in VERIFIED for a in sent)


def _arrived(snapshot: Snapshot, pair: Pair) -> datetime:
    if ours := snapshot.history.last_install(pair.name.stem):
        return ours.at
    return pair.cert.file.changed if pair.cert else datetime.fromtimestamp(0, UTC)


def unaccepted(view: View, want: Want, authority: str) -> str | None:
    """Why a client pair of that authority would be refused by a process today, or None.

    The bundle must be reloaded and accepted before the leaves follow. A process that cannot be inspected may use
    another directory and will never be reloaded by this agent: nothing waits for it.
    """
    if not is_client(want.name):
        return None
    bundle = verifier(view, want.name)
    roots = {r.subject_digest for r in failover.in_bundle(view.snapshot, want, authority)}
    for process in (p for p in view.snapshot.processes if p.found_by == "arguments" and p.state != "forbidden"):
        told = [set(s.client_cas) for s in of_process(view.snapshot, process) if s.client_cas and not s.client]
        if roots and any(not roots & names for names in told):
            return (
                f"pid {process.pid} does not accept clients of authority {authority!r} yet; {bundle}.crt is"
                " needed first"
            )
        if _late(view.snapshot, process, bundle):
            return f"pid {process.pid} has not been reloaded since {bundle}.crt was installed"
    return None


def _late(snapshot: Snapshot, process: Process, bundle: str) -> bool:
    came = snapshot.history.last_install(bundle)
    sent = [a.at for a in snapshot.history.signals(process) if a.outcome in {*VERIFIED, "unproven"}]
    return came is not None and came.at > process.started and not any(at >= came.at for at in sent)


def _roots(snapshot: Snapshot, authority: str) -> tuple[Leaf, ...]:
    return next((a.roots for a in snapshot.authorities if a.name == authority), ())


def _superfluous(view: View) -> Part:
    """Files that cockroach uses although nothing requests them."""
    found = []
    for pair in view.snapshot.pairs if view.policy.wants else ():
        kind, stem = pair.name.kind, pair.name.stem
        if not kind.effect or pair.cert is None or view.want(stem):
            continue
        message = f"not requested by layout {view.policy.layout!r}, but {kind.effect}"
        remedy = f"add [certs_dir.file.{stem}], choose another layout, or remove it and restart cockroach"
        severity: Severity = "warning" if kind.grave else "info"
        found.append(LAYOUT_SUPERFLUOUS.found(f"{stem}.crt", message, severity, remedy))
    return saying((*found, *_old_clients(view)))


def _old_clients(view: View) -> tuple[Finding, ...]:
    """Under split CA: CAs of `ca.crt` that `ca-client.crt` still accepts clients of."""
    want, own, general = view.want(CA_CLIENT.stem), view.pair(CA_CLIENT.stem), view.pair(CA.stem)
    if want is None or own is None or general is None or own.cert is None or general.cert is None:
        return ()
    news = {r.spki for a in want.authorities for r in _roots(view.snapshot, a)}
    both = {c.spki for c in general.cert.certificates} - news
    left = [c.subject for c in own.cert.certificates if c.spki in both]
    if not news or not left:
        return ()
    message = f"clients of {', '.join(left)} are still accepted"
    remedy = f"once no client needs that CA, remove it from {CA_CLIENT.stem}.crt"
    return (LAYOUT_SUPERFLUOUS.found(f"{CA_CLIENT.stem}.crt", message, remedy=remedy),)


def _dual(view: View) -> Part:
    """A node certificate that is still a client certificate although `client.node` exists: its renewal narrows it."""
    want, live = view.want(NODE.stem), view.pair(NODE.stem)
    if want is None or want.client or live is None or live.leaf is None or not is_node(view.snapshot, live):
        return NOTHING
    usages = live.leaf.eku
    if not_in_use(view) or (usages is not None and not {"clientAuth", "any"} & set(usages)):
        return NOTHING
    message = f"servers still accept node.crt as the client {NODE_USER!r}, for which client.node.crt is used now"
    found = LAYOUT_SUPERFLUOUS.found("node.crt", message, remedy="certagent renew node", renews=True)
    if not want.issued_in(view.snapshot.directory):
        return Part(findings=(found,))
    why = f"{message}; `certagent renew node` replaces it now"
    return Part(findings=(found,)) + blocked("issue", NODE.stem, why, view.renew_at(want, live.effective or live.leaf))
