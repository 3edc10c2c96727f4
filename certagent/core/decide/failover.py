"""Which authority is asked: in fallback order, the least tried one of those whose root is in the bundle.

A completed renewal clears the count, so each new one begins with the first authority. Each authority has a pause of its
own: a Retry-After of one CA does not delay the next, and a failure moves on immediately. So does a refusal by policy:
another CA may have another policy. A change of the issuing root is never silent: an authority whose known roots are not
in the bundle is a finding before it is needed, and is skipped while there is another one. Alone it is asked, as its
root may be cross-signed by one in the bundle: the pre-install checks verify the whole path. An answer that they refuse
is not asked for again on the same day. A bundle that is missing is made by the first authority alone.
Rejected: moving on from a CA that has the request and answers later. The person or the queue that has it would answer a
request that was withdrawn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from shlex import quote

from certagent.core.catalogue import AUTHORITY_UNTRUSTED, AUTHORITY_UNUSABLE
from certagent.core.facts import Attempt, Authority, Leaf, Request, Snapshot, counted
from certagent.core.findings import Finding
from certagent.core.policy import Want
from certagent.core.spans import stamp
from certagent.core.timing import retry_at
from certagent.core.trust import bundles_for, is_split
from certagent.core.view import View

ROTATE = "rotate the CA: first its new root into the trust bundle on every node, then certagent renew"
COPY_CA = "copy the ca.crt and ca.key of the existing trust bundle into its directory, or configure another authority"
OF_AUTHORITIES = frozenset({AUTHORITY_UNTRUSTED, AUTHORITY_UNUSABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An authority, and when it may be asked; None: now."""

    authority: str
    at: datetime | None


def untrusted(snapshot: Snapshot, want: Want, authority: str) -> str | None:
    """Why the pre-install checks would refuse that authority's certificates, as far as its roots are known."""
    roots = next((a.roots for a in snapshot.authorities if a.name == authority), ())
    return _outside(snapshot, want, authority, {r.spki for r in roots}, lambda c: c.spki)


def _outside(
    snapshot: Snapshot, want: Want, authority: str, marks: set[str], mark: Callable[[Leaf], str]
) -> str | None:
    """Why the bundles do not verify an authority with these roots; None where they do, or none is known."""
    if want.name.is_bundle or not marks or want.name.kind.system_roots:
        return None
    split = is_split(snapshot.pairs, wanted=not want.client)
    for stem in bundles_for(want.name, snapshot.listed_bundles, split=split):
        bundle = snapshot.pair(stem)
        trusted = {mark(c) for c in bundle.cert.certificates} if bundle and bundle.cert else set()
        if trusted and not trusted & marks:
            return f"{stem}.crt does not contain the root of authority {authority!r}: add it on every node first"
    return None


def _pinned_outside(snapshot: Snapshot, want: Want, known: Authority) -> str | None:
    """The same where only fingerprints are configured. The CA is asked nevertheless: it may show another root."""
    marks = set() if known.roots else set(known.pins)
    return _outside(snapshot, want, known.name, marks, lambda c: c.fingerprint)


def in_bundle(snapshot: Snapshot, want: Want, authority: str) -> tuple[Leaf, ...]:
    """The known roots of an authority; none where it must cross-sign to be verified, by an unknown root."""
    known = _fact(snapshot, authority)
    if known is None or (known.cross_signs and untrusted(snapshot, want, authority)):
        return ()
    return known.roots


def of_roots(snapshot: Snapshot, want: Want, roots: frozenset[str]) -> bool:
    """Whether an authority of the order is known to issue under one of these roots."""
    return any(not roots.isdisjoint(r.spki for r in in_bundle(snapshot, want, name)) for name in want.authorities)


def _fact(snapshot: Snapshot, authority: str) -> Authority | None:
    return next((a for a in snapshot.authorities if a.name == authority), None)


def _cross_signs(snapshot: Snapshot, authority: str) -> bool:
    known = _fact(snapshot, authority)
    return known is not None and known.cross_signs


def usable(snapshot: Snapshot, want: Want) -> tuple[str, ...]:
    """The authorities of the order that are not known to be useless; a bundle is made by the first alone."""
    if want.name.is_bundle:
        return want.authorities[:1]
    silent = _unreadable(snapshot)
    order = [a for a in want.authorities if a not in silent]
    trusted = tuple(a for a in order if untrusted(snapshot, want, a) is None)
    return trusted or tuple(a for a in order if _cross_signs(snapshot, a))


def unread(snapshot: Snapshot, want: Want, later: Attempt | None) -> str | None:
    """Why no authority is asked now: its files have not been read yet.

    Who was not read yet is waited for: a moment, and no reason to ask another one. Where a file hangs, the next of the
    order is asked. An authority that has a request is waited for, and so is the first one if it creates a bundle.
    """
    order = want.authorities[:1] if want.name.is_bundle else want.authorities
    if later and later.authority in order and untrusted(snapshot, want, later.authority) is None:
        order = (later.authority,)
    silent = _unreadable(snapshot)
    waited = [a for a in order if a in silent]
    able = any(a not in silent and untrusted(snapshot, want, a) is None for a in order)
    if not waited or (able and all(silent[a] == "hung" for a in waited)):
        return None
    return f"the files of authority {waited[0]} have not responded yet"


def _unreadable(snapshot: Snapshot) -> dict[str, str]:
    return {a.name: a.unreadable for a in snapshot.authorities if a.unreadable}


def expired(view: View, name: str) -> str | None:
    """That an embedded CA has expired, with its file: nothing that it signs is valid. Of another CA only it knows."""
    known = _fact(view.snapshot, name)
    if known is None or known.kind != "local" or not known.roots:
        return None
    last = max(known.roots, key=lambda root: root.not_after)
    return f"{last.subject} expired at {stamp(last.not_after)} ({known.source})" if last.not_after <= view.now else None


def findings(view: View, want: Want, blamed: set[str]) -> tuple[Finding, ...]:
    """Authorities that cannot be asked, or whose root is not in the bundle: said before a renewal needs them.

    `blamed`: those that a finding about a renewal names already.
    """
    snapshot = view.snapshot
    if want.name.is_bundle or not want.issued_in(snapshot.directory):
        return ()
    file, found = f"{want.name.stem}.crt", list[Finding]()
    for name in (a for a in want.authorities if a not in blamed):
        known = _fact(snapshot, name)
        if known and (what := known.problem or _uncreated(snapshot, want, known)):
            message = f"authority {name!r} cannot be asked: {what}"
            found.append(AUTHORITY_UNUSABLE.found(file, message, remedy=known.advice or _copying(known)))
        if old := expired(view, name):
            found.append(AUTHORITY_UNUSABLE.found(file, f"authority {name!r} cannot issue: {old}", remedy=ROTATE))
        if problem := untrusted(snapshot, want, name) or (known and _pinned_outside(snapshot, want, known)):
            found.append(AUTHORITY_UNTRUSTED.found(file, problem, remedy=adding(snapshot, name)))
    return tuple(found)


def _uncreated(snapshot: Snapshot, want: Want, known: Authority) -> str | None:
    """Why an embedded CA that does not exist is not made: there is a bundle already, which would not verify it."""
    if not known.uncreated or want.name.kind.system_roots:
        return None
    split = is_split(snapshot.pairs, wanted=not want.client)
    bundles = (snapshot.pair(stem) for stem in bundles_for(want.name, snapshot.listed_bundles, split=split))
    if all(bundle is None or bundle.leaf is None for bundle in bundles):
        return None
    return "its CA does not exist, and a new one is made only with the first trust bundle, which is there already"


def _copying(known: Authority) -> str | None:
    return COPY_CA if known.uncreated else None


def advice(snapshot: Snapshot, want: Want, authority: str) -> str:
    """What a person does about an authority that cannot be used; "" where nothing is wrong with it here."""
    known = _fact(snapshot, authority)
    if known and (known.problem or _uncreated(snapshot, want, known)):
        return known.advice or _copying(known) or AUTHORITY_UNUSABLE.advice
    return adding(snapshot, authority) if untrusted(snapshot, want, authority) else ""


def adding(snapshot: Snapshot, authority: str) -> str:
    """What a person does about a bundle that lacks the root of an authority; with its file, where it is known."""
    known = _fact(snapshot, authority)
    return AUTHORITY_UNTRUSTED.advice.replace("FILE", quote(known.source) if known and known.source else "FILE")


def once(findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """What is wrong with an authority, for the first of the files that it issues: it is one cause."""
    rows = {(f.rule, f.message): f for f in reversed(findings) if f.rule in OF_AUTHORITIES}
    return tuple(f for f in findings if f.rule not in OF_AUTHORITIES or rows[f.rule, f.message] is f)


def inbox_changed(view: View, later: Attempt | None) -> Attempt | None:
    """The request that waits; due now if the inbox changed since it was last asked about."""
    news = next((a.inbox_changed for a in view.snapshot.authorities if later and a.name == later.authority), None)
    return replace(later, retry_at=None) if later and news and later.at < news <= view.now else later


def choose(view: View, want: Want, leaf: Leaf | None, order: tuple[str, ...], later: Attempt | None) -> Choice:
    """Given the live leaf, a non-empty order and the request that waits, return whom to ask.

    An operator who forces the renewal waits for nothing that was tried before.
    """
    asked, now = view.snapshot.renewal(want.name.stem), view.now
    rows, since = [], _failures(view, want)
    if later is not None and later.authority in order:
        return Choice(authority=later.authority, at=_later(_poll_at(view, want, leaf, later, since), later, asked, now))
    for place, name in enumerate(order):
        mine = counted(tuple(a for a in since if a.authority in {"", name} or a.kind == "rollback"))
        at = _later(retry_at(mine, want, leaf, view.policy.seed), mine[-1] if mine else None, asked, now)
        rows.append((at or now, len(mine), place, name))
    ready = [row[1:] for row in rows if row[0] <= now]
    if ready:
        return Choice(authority=min(ready)[2], at=None)
    soonest = min(rows)
    return Choice(authority=soonest[3], at=soonest[0])


def _poll_at(view: View, want: Want, leaf: Leaf | None, later: Attempt, since: tuple[Attempt, ...]) -> datetime | None:
    """When to ask again about a request that waits: as its CA said; an agent that ended twice since waits longer."""
    broken_off = tuple(a for a in since if a.interrupted and a.at > later.at)
    pause = retry_at(broken_off, want, leaf, view.policy.seed)
    return max(filter(None, (later.retry_at, pause)), default=None)


def _failures(view: View, want: Want) -> tuple[Attempt, ...]:
    """What failed since the last installation, and how long each still delays the next request.

    An answer that was refused for its root delays it only as any failure does, no hour and no day, where its trust
    bundle has changed since: a CA may switch to a new root before the bundle has got that. A person's answer delays
    nothing: another request to a person costs no certificate.
    """
    split = is_split(view.snapshot.pairs, wanted=view.policy.split)
    bundles = (view.pair(stem) for stem in bundles_for(want.name, view.snapshot.listed_bundles, split=split))
    changed = max((b.cert.file.changed for b in bundles if b and b.cert), default=None)
    people = {a.name for a in view.snapshot.authorities if a.by_hand}
    return tuple(_delaying(a, changed, people) for a in view.history.failures(want.name.stem))


def _delaying(failed: Attempt, changed: datetime | None, people: set[str]) -> Attempt:
    if not failed.answered or (failed.authority not in people and (changed is None or changed <= failed.at)):
        return failed
    for_its_root = failed.retry_at is not None and not failed.unswapped
    return replace(failed, retry_at=None, answered=not for_its_root and failed.authority not in people)


def _later(at: datetime | None, last: Attempt | None, asked: Request | None, now: datetime) -> datetime | None:
    """The time, if it is in the future and no operator forces the renewal."""
    forced = asked is not None and asked.force and (last is None or last.at < asked.at)
    return None if forced or at is None or at <= now else at
