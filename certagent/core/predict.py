"""The snapshot after an action succeeded: for the later steps of `plan`, and as the fake host of the tests.

Everything here is what should happen, not what did: integration tests hold it against the real host.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from certagent.core.actions import (
    Action,
    AskRevocation,
    Install,
    Issue,
    LookAt,
    Probe,
    Prune,
    Recover,
    RejectStaged,
    Reload,
    Restrict,
    Rollback,
    Scan,
)
from certagent.core.bundles import certificates, widened
from certagent.core.decide import decide
from certagent.core.decide.install import ready
from certagent.core.facts import (
    Adopted,
    Answer,
    Attempt,
    Authority,
    CertFile,
    Checked,
    File,
    Generation,
    KeyFile,
    Leaf,
    Pair,
    Pairs,
    Repair,
    Revocation,
    Served,
    Snapshot,
    Staged,
    Trust,
)
from certagent.core.looks import predicted
from certagent.core.names import CLIENT_NODE, Name, parse
from certagent.core.noted import noted, tried
from certagent.core.policy import Policy
from certagent.core.serving import client_names, expected

STEPS = 40
LIFETIME = timedelta(days=30)
MOMENT = timedelta(milliseconds=1)


def forecast(policy: Policy, snapshot: Snapshot, now: datetime, steps: int = STEPS) -> tuple[Action, ...]:
    """Given a snapshot, return every action until nothing is left to do, if each succeeds within a millisecond.

    It ends after that many steps: a snapshot that never goes quiet is not followed for ever.
    """
    found: list[Action] = []
    there = {s.pair.leaf.fingerprint for s in snapshot.staged if s.pair.leaf}
    for _ in range(steps):
        plan = decide(policy, snapshot, now)
        if not plan.actions:
            break
        for action in plan.actions:
            snapshot = predict(snapshot, action, now)
        found += [_foreseen(action, there) for action in plan.actions]
        now += MOMENT  # an answer from the future would be asked for again
    return tuple(found)


def _foreseen(action: Action, there: set[str]) -> Action:
    """Given the fingerprints of what is staged, return an action whose reason names no certificate that is made up."""
    name = parse(action.stem) if isinstance(action, Install) and action.fingerprint not in there else None
    return replace(action, reason=ready(name)) if isinstance(action, Install) and isinstance(name, Name) else action


def predict(snapshot: Snapshot, action: Action, now: datetime) -> Snapshot:  # noqa: C901, PLR0911, PLR0912 - one arm per action
    """Given a snapshot and an action, return the snapshot after it succeeded."""
    match action:
        case Recover():
            return replace(snapshot, directory=replace(snapshot.directory, interrupted=False))
        case Restrict():
            return _restricted(snapshot, action, now)
        case Issue():
            return _issued(snapshot, action, now)
        case Install():
            return _installed(snapshot, action, now)
        case RejectStaged():
            kept = tuple(s for s in snapshot.staged if s.pair.name.stem != action.stem)
            refused = Attempt("install", action.stem, now, "refused", action.reason, retry_at=action.again_at)
            return tried(replace(snapshot, staged=kept), refused)
        case Reload():
            return _reloaded(snapshot, action, now)
        case Probe():
            return _probed(snapshot, action, now)
        case LookAt():
            return predicted(snapshot, action, now)
        case Prune():
            return _pruned(snapshot, action, now)
        case Rollback():
            return _rolled_back(snapshot, action, now)
        case Scan():
            return replace(snapshot, processes_at=now)
        case AskRevocation():
            return _asked(snapshot, action, now)
        case _:
            return noted(snapshot, action, now)


def _asked(snapshot: Snapshot, action: AskRevocation, now: datetime) -> Snapshot:
    """Every responder says good; one that said revoked before still does."""
    marks = [mark for _, mark in action.leaves]
    answer = Answer("ocsp", "", "good", now)
    fresh = [Revocation(m, now, (Checked(m, "", (answer,), ("",)),)) for m in marks]
    kept = {r.fingerprint: replace(r, at=now) for r in snapshot.revocations if r.revoked and r.fingerprint in marks}
    others = [r for r in snapshot.revocations if r.fingerprint not in marks]
    return replace(snapshot, revocations=(*others, *(kept.get(r.fingerprint, r) for r in fresh)))


def _restricted(snapshot: Snapshot, action: Restrict, now: datetime) -> Snapshot:
    def fixed(file: File) -> File:
        return file if file.name != action.file else replace(file, mode=action.mode)

    pairs = tuple(replace(p, key=replace(p.key, file=fixed(p.key.file))) if p.key else p for p in snapshot.pairs)
    unmanaged_files = tuple(fixed(f) for f in snapshot.unmanaged_files)
    repairs = (*snapshot.repairs, Repair(action.file, now, ok=True, since=action.since))
    return replace(snapshot, pairs=pairs, unmanaged_files=unmanaged_files, repairs=repairs)


def _issued(snapshot: Snapshot, action: Issue, now: datetime) -> Snapshot:
    pair = _imagined(snapshot, action, now)
    leaf = pair.leaf
    if leaf is not None and action.want.name.is_bundle:
        snapshot = replace(snapshot, authorities=tuple(_known(a, action.authority, leaf) for a in snapshot.authorities))
    staged = (*snapshot.staged, Staged(pair, now, asked=True))
    issued = snapshot.issued | ({leaf.fingerprint} if leaf else set())
    adopted = (Adopted(action.subject, leaf.fingerprint, action.want.digest, now),) if leaf else ()
    attempt = Attempt("issue", action.subject, now, "ok", action.reason, authority=action.authority)
    return tried(replace(snapshot, staged=staged, issued=issued, adopted=(*snapshot.adopted, *adopted)), attempt)


def _known(authority: Authority, asked: str, root: Leaf) -> Authority:
    """One that was asked for its roots has some."""
    return replace(authority, roots=authority.roots or (root,)) if authority.name == asked else authority


def _imagined(snapshot: Snapshot, action: Issue, now: datetime) -> Pair:
    """The pair or bundle that a valid answer would contain; what cannot be known is made up."""
    want, stem = action.want, action.subject
    live = snapshot.pair(stem)
    mark = sha256(f"{stem} {now.isoformat()}".encode()).hexdigest()
    reused = live.key if action.reuse_key and live else None
    spki = reused.spki if reused and reused.spki else sha256(mark.encode()).hexdigest()
    leaf = Leaf(
        fingerprint=mark,
        spki=spki,
        serial=1,
        subject=f"CN={want.principal or stem}",
        issuer=f"CN={action.authority}",
        subject_digest=mark,
        common_names=(want.principal,) if want.principal else (),
        dns=tuple(n for n in action.names if not _is_ip(n) and "://" not in n),
        ips=tuple(n for n in action.names if _is_ip(n)),
        not_before=now,
        not_after=now + (want.lifetime or LIFETIME),
        is_ca=want.name.is_bundle,
        eku=tuple(["serverAuth"] * want.server + ["clientAuth"] * want.client) or None,
        key=reused.key if reused else want.key,
        signature="sha256",
        ocsp=live.leaf.ocsp if live and live.leaf else (),  # the same CA, the same responder
        uris=tuple(n for n in action.names if "://" in n),
    )
    when = int(now.timestamp() * 1e9)
    file = File(f"{stem}.crt", "file", 0o600, 0, 0, 1, 0, 0, when, when)
    known = next((a for a in snapshot.authorities if a.name == action.authority), None)
    if want.name.is_bundle:
        first, *rest = widened(certificates(snapshot.pair(action.carried_over_bundle)), known, leaf)
        return Pair(want.name, CertFile(file, mark, first, tuple(rest)))
    cert = CertFile(file, mark, leaf)
    fresh = KeyFile(File(f"{stem}.key", "file", 0o600, 0, 0, 1, 0, 0, when, when), spki, spki, want.key)
    bundle = want.name.kind.bundle_in(snapshot.bundles)
    trust = Trust(bundle, None, tuple(r.spki for r in known.roots) if known else ()) if bundle else None
    return Pair(want.name, cert, reused or fresh, trust)


def _is_ip(name: str) -> bool:
    return ":" in name or name.replace(".", "").isdigit()


def _put(snapshot: Snapshot, pair: Pair, attempt: Attempt) -> Snapshot:
    """The pair goes live; what stood there becomes a generation."""
    before = snapshot.pair(pair.name.stem)
    pairs = sorted((*(p for p in snapshot.pairs if p.name != pair.name), pair), key=lambda p: p.name.stem)
    number = max((g.number for g in snapshot.generations if g.pair.name == pair.name), default=0) + 1
    gone = before is not None and before.leaf is not None and before.leaf.fingerprint in snapshot.quarantined
    kept = (Generation(number, before, attempt.at, gone),) if before and before.matched else ()
    return tried(replace(snapshot, pairs=Pairs(pairs), generations=(*snapshot.generations, *kept)), attempt)


def _installed(snapshot: Snapshot, action: Install, now: datetime) -> Snapshot:
    staged = next((s for s in snapshot.staged if s.pair.name.stem == action.stem), None)
    if staged is None:
        return snapshot
    pair = _owned(staged.pair, action)
    kept = tuple(s for s in snapshot.staged if s is not staged)
    attempt = Attempt("install", action.stem, now, "ok", action.reason, fingerprint=action.fingerprint)
    return _put(replace(snapshot, staged=kept), pair, attempt)


def _pruned(snapshot: Snapshot, action: Prune, now: datetime) -> Snapshot:
    """The smaller bundle is staged, and on record as made by the agent."""
    live, gone = snapshot.pair(action.subject), {ca.fingerprint for ca in action.removed}
    left = [ca for ca in certificates(live) if ca.fingerprint not in gone]
    if live is None or live.cert is None or not left:
        return snapshot
    digest = sha256("".join(ca.fingerprint for ca in left).encode()).hexdigest()
    made = replace(live, cert=replace(live.cert, digest=digest, leaf=left[0], chain=tuple(left[1:])))
    found = replace(snapshot, staged=(*snapshot.staged, Staged(made, now, asked=True)))
    found = replace(found, issued=snapshot.issued | {left[0].fingerprint})
    return tried(found, Attempt("command", action.subject, now, "ok", action.reason, command="bundle prune"))


def _owned(pair: Pair, action: Install | Rollback) -> Pair:
    """The pair with the key's mode and owner that the swap gives it."""
    if pair.key is None:
        return pair
    file = replace(pair.key.file, mode=action.key_mode, uid=action.uid, gid=action.gid)
    return replace(pair, key=replace(pair.key, file=file))


def _rolled_back(snapshot: Snapshot, action: Rollback, now: datetime) -> Snapshot:
    kept = [g for g in snapshot.generations if (g.pair.name.stem, g.number) == (action.stem, action.generation)]
    if not kept:
        return snapshot
    bad = snapshot.quarantined | ({action.bad} if action.bad else set())
    attempt = Attempt("rollback", action.stem, now, "ok", action.reason, fingerprint=action.fingerprint)
    bundle = kept[0].pair.name.kind.bundle_in(snapshot.bundles)
    back = replace(_owned(kept[0].pair, action), trust=Trust(bundle) if bundle else None)
    return _put(replace(snapshot, quarantined=bad), back, attempt)


def _reloaded(snapshot: Snapshot, action: Reload, now: datetime) -> Snapshot:
    """The process serves what is on disk, and answers say so a moment later."""
    later = now + MOMENT
    served = tuple(_serving(snapshot, s, later) if s.process == action.subject else s for s in snapshot.served)
    attempt = Attempt("reload", action.subject, now, "unproven", action.reason, material=action.material)
    return tried(replace(snapshot, served=served), attempt)


def _serving(snapshot: Snapshot, served: Served, at: datetime) -> Served:
    shown, offered = (
        pair.leaf.fingerprint if pair and pair.leaf else ""
        for pair in (expected(snapshot, served.kind), snapshot.pair(served.client))
    )
    asked = replace(served, at=at, outcome="served", reason="", fingerprint=shown, client_fingerprint=offered)
    if served.client:
        return asked
    node, http = snapshot.pair(CLIENT_NODE.stem), served.kind == "http"
    return replace(
        asked,
        client_cas=() if http else tuple(sorted(client_names(snapshot))),
        node_client_expiry=int(node.leaf.not_after.timestamp()) if http and node and node.leaf else 0,
    )


def _probed(snapshot: Snapshot, action: Probe, now: datetime) -> Snapshot:
    kind = "sql" if action.kind == "auto" else action.kind
    host = f"[{action.host}]" if ":" in action.host else action.host
    later = now + MOMENT
    asked = Served(f"{host}:{action.port}", kind, action.process, later, "served", client=action.client)
    answer = _serving(snapshot, asked, later)
    others = [
        s for s in snapshot.served if (s.process, s.address, s.client) != (asked.process, asked.address, asked.client)
    ]
    return replace(snapshot, served=(*others, answer))
