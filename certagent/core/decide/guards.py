"""Guards that block a request to an authority: each checks one condition, and says why and until when.

Their order is the policy; it is the table at the head of renewal.py.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from certagent.core.asked import WITHOUT_ROOT
from certagent.core.decide import ahead, failover, layouts, sans
from certagent.core.decide.overlap import lacking
from certagent.core.decide.revocation import revoked_again_at
from certagent.core.facts import Attempt, Pair, Request
from certagent.core.findings import Severity
from certagent.core.policy import Want
from certagent.core.reasons import Cause, Reason
from certagent.core.spans import stamp
from certagent.core.spread import spread_until
from certagent.core.timing import DAY, emergency_at, settled_at
from certagent.core.view import View

CONDEMNED = (
    "the pairs that replaced it were revoked within the hour too, so the next request waits; `certagent"
    " renew` does not wait"
)
SPREAD = "not all hosts ask at once for a changed setting; `certagent renew {}` does not wait"
KEEP_NAMES = "add the names of the live certificate to `names`, or set drop_names = true"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """A pair that should be issued, and why."""

    view: View
    want: Want  # as it may be asked for now
    pair: Pair
    reason: Reason

    @property
    def stem(self) -> str:
        """The name of the pair."""
        return self.want.name.stem

    @property
    def requested(self) -> Request | None:
        """The operator's command that asks for it."""
        return self.view.snapshot.renewal(self.stem)

    @property
    def forced(self) -> bool:
        """Whether the operator waits for no pause that follows failures."""
        return self.requested is not None and self.requested.force

    @cached_property
    def failed(self) -> tuple[Attempt, ...]:
        """What failed since it was last installed."""
        return self.view.history.failures(self.stem)

    @cached_property
    def later(self) -> Attempt | None:
        """The request that an authority has, and answers later."""
        return failover.inbox_changed(self.view, self.view.history.waiting(self.stem))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The authorities that may be asked."""
        found = lacking(self.view, self.want)
        return (found.authority,) if found else failover.usable(self.view.snapshot, self.want)

    @cached_property
    def choice(self) -> failover.Choice:
        """The authority to ask, and when. There must be one."""
        return failover.choose(self.view, self.want, self.pair.effective, self.order, self.later)


@dataclass(frozen=True, slots=True)
class Block:
    """Why no authority is asked now; `until` is None if the end is not known."""

    why: str
    until: datetime | None = None
    severity: Severity = "critical"  # of what only a person lifts
    told: bool = False  # a finding about the live certificate says it already
    remedy: str | None = None


def _block(why: str | None, until: datetime | None = None, remedy: str | None = None) -> Block | None:
    return Block(why, until, remedy=remedy) if why else None


def under_way(a: Asking) -> Block | None:
    """An authority is being asked, or its answer is staged."""
    staged = any(s.pair.name.stem == a.stem for s in a.view.snapshot.staged)
    return _block("a request is already under way" if staged or a.view.running("issue", a.stem) else None)


def unread_files(a: Asking) -> Block | None:
    """The files of the authority to ask have not been read yet."""
    return _block(failover.unread(a.view.snapshot, a.want, a.later))


def missing_bundle(a: Asking) -> Block | None:
    """The bundle that verifies it comes first."""
    needed = () if a.want.name.is_bundle else layouts.needed(a.view, a.want.name)
    first = next((bundle for bundle in needed if bundle not in a.view.snapshot.bundles), None)
    told = f"{first}.crt is needed first" if first else None
    return _block(told, remedy=f"see {first}.crt: this follows by itself once the bundle is there")


def unsound_clock(a: Asking) -> Block | None:
    """Dates mean nothing without a clock. An embedded CA has this one, and would date its certificates by it.

    Another CA may be asked while one answer says that the clock is ahead: each answer is judged by itself, and a CA
    that sends an old certificate must not keep others from being asked.
    """
    clock, kinds = a.view.snapshot.clock, {x.name: x.kind for x in a.view.snapshot.authorities}
    if not clock.sound or a.requested or "local" not in map(kinds.get, a.order):
        return _block(None if clock.sound else clock.reason)
    shown = next((why for s in a.view.snapshot.staged if (why := ahead.ahead(a.view, s))), None)
    return _block(f"the clock of this host is ahead: {shown}" if shown else None)


def unwritable_ledger(a: Asking) -> Block | None:
    """An attempt that cannot be recorded is not made."""
    problem = a.view.snapshot.ledger_problem
    return _block(f"the ledger cannot be written: {problem}" if problem else None)


def no_names(a: Asking) -> Block | None:
    """A server's certificate without a name is of no use."""
    without = a.want.server and not sans.names(a.want, a.pair.leaf)
    told = f"no names are configured for {a.stem}, and there is no live certificate to take them from: set `names`"
    return _block(told if without else None, remedy="configure `names` for it")


def vanishing_names(a: Asking) -> Block | None:
    """A name disappears by the configuration's word alone."""
    return _block(sans.vanishing(a.view.snapshot, a.want, a.pair.leaf), remedy=KEEP_NAMES)


def misdirected_scopes(a: Asking) -> Block | None:
    """A renewal keeps the `crdb://` URIs, and the pre-install checks would refuse it for them."""
    return _block(sans.misdirected(a.view.snapshot, a.want, a.pair), remedy=sans.set_uris(a.stem))


def widened_scopes(a: Asking) -> Block | None:
    """Another tool or a person replaced the pair by one that is valid for more tenants or users."""
    return _block(sans.widened(a.view.snapshot, a.want, a.pair), remedy=sans.set_uris(a.stem))


def disallowed_user(a: Asking) -> Block | None:
    """Servers refuse every certificate of root, from any CA."""
    barred = a.want.principal == "root" and any(not terms.root_login for terms in a.want.terms)
    why = "cockroach runs with --disallow-root-login and refuses every certificate of root"
    told = a.pair.leaf is not None
    return Block(why, remedy=WITHOUT_ROOT.format(a.stem), told=told) if barred else None


def untrusted_authorities(a: Asking) -> Block | None:
    """The pre-install checks would refuse whatever is answered."""
    why = failover.untrusted(a.view.snapshot, a.want, a.want.authorities[0])
    told = bool(a.pair.trust and a.pair.trust.problem)
    remedy = failover.adding(a.view.snapshot, a.want.authorities[0])
    return Block(why, remedy=remedy, told=told) if why and not a.order else None


def ending_cas(a: Asking) -> Block | None:
    """No root that may sign outlives the live certificate: another one would end no later."""
    effective, known = a.pair.effective, {x.name: x.roots for x in a.view.snapshot.authorities}
    gone = [failover.expired(a.view, name) for name in a.order]
    if gone and all(gone):
        return Block(f"renewal cannot help: {gone[0]}", severity="critical", remedy=failover.ROTATE)
    roots = [known.get(name, ()) for name in a.order]
    if a.reason.kind is not Cause.DUE or effective is None or not roots or not all(roots):
        return None
    last = max((root for each in roots for root in each), key=lambda root: root.not_after)
    if last.not_after > effective.not_after:
        return None
    why = (
        f"renewal cannot help: the CA {last.subject} expires at {stamp(last.not_after)}, and so would a new certificate"
    )
    late = a.view.now >= emergency_at(effective)
    return Block(why, severity="critical" if late else "warning", remedy=failover.ROTATE)


def uncreated_ca(a: Asking) -> Block | None:
    """The embedded CA is created with a trust bundle: a pair that no bundle verifies would be asked for before that."""
    bundle = "" if a.want.name.is_bundle else layouts.creating(a.view, a.choice.authority)
    why = f"the CA of authority {a.choice.authority!r} does not exist yet; it is created together with {bundle}.crt"
    return _block(why if bundle else None)


def pausing(a: Asking) -> Block | None:
    """The authority answers later, or the last attempt failed."""
    if a.choice.at is None:
        return None
    why = f"attempt {len(a.failed) + 1} waits for the backoff"
    if a.later:
        why = f"the CA issues later: {a.later.reason}"
    elif a.failed and a.failed[-1].answered:
        what = "could not be installed" if a.failed[-1].unswapped else "was refused"
        why += f" after a certificate that {what}; `certagent renew {a.stem} --force` does not wait"
    return Block(why, a.choice.at)


def revoked_again(a: Asking) -> Block | None:
    """A responder that condemns every certificate makes no storm; an operator's command does not wait for it."""
    at = None if a.requested else revoked_again_at(a.view, a.pair)
    return _block(CONDEMNED if at else None, at)


def exposed_again(a: Asking) -> Block | None:
    """Who exposes every new key as well causes one certificate a day."""
    if a.reason.kind is not Cause.EXPOSED or a.pair.key is None:
        return None
    key = a.pair.key
    others = [e.until + DAY for e in a.view.snapshot.exposures if e.file == key.file.name and e.key != key.spki]
    again = max((at for at in others if at > a.view.now), default=None)
    return _block("the previous key was exposed less than a day ago too" if again else None, again)


def unsettled(a: Asking) -> Block | None:
    """Whoever puts a pair there by hand may not be done; an operator's command does not wait for that."""
    at = None if a.requested else settled_at(a.pair, a.view.now)
    return _block("the files have just changed and may be incomplete" if at else None, at)


def spread_out(a: Asking) -> Block | None:
    """A changed setting is pushed to a whole fleet; what is due anyway, or asked for by an operator, does not wait.

    Neither does what an embedded CA issues: it is on this host, and no other one asks it.
    """
    live, kinds = a.pair.effective, {x.name: x.kind for x in a.view.snapshot.authorities}
    if a.reason.kind is not Cause.CHANGED or live is None or a.later or kinds.get(a.choice.authority) == "local":
        return None
    if a.view.now >= a.view.renew_at(a.want, live):
        return None
    at = spread_until(a.view.policy, a.stem, live, a.view.now)
    return _block(SPREAD.format(a.stem) if at else None, at)


def unaccepted(a: Asking) -> Block | None:
    """The processes would refuse a client pair of that authority today."""
    return _block(layouts.unaccepted(a.view, a.want, a.choice.authority))
