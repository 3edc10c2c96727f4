"""Install the staged pairs that pass the pre-install checks; reject the others."""

from datetime import datetime

from certagent.core.actions import Install, RejectCommand, RejectStaged
from certagent.core.decide import ahead, failover, layouts
from certagent.core.decide.generations import going_back
from certagent.core.decide.obstacles import obstacle
from certagent.core.decide.part import NOTHING, Part, blocked, total
from certagent.core.decide.renewal import due, live_findings
from certagent.core.decide.revocation import same_key, waits
from certagent.core.facts import Leaf, Pair, Snapshot, Staged
from certagent.core.names import CLIENT_NODE, Name
from certagent.core.needs import unproven
from certagent.core.policy import Want
from certagent.core.remaining import aged
from certagent.core.rotation import shrink
from certagent.core.rotation.roots import anchors
from certagent.core.rotation.serve import Held, staged_held
from certagent.core.rules import refusal
from certagent.core.scopes import limit
from certagent.core.spans import stamp
from certagent.core.timing import DAY, emergency_at, swap_retry_at, valid_soon
from certagent.core.view import View


def part(view: View) -> Part:
    """Install what passes the pre-install checks, reject the rest."""
    if not view.snapshot.directory.managed:
        return NOTHING
    asked = [r for r in view.snapshot.requests if r.kind == "rollback"]
    back = [going_back(view, r.subject, "requested by an operator") for r in asked]
    returns = [Part((b,)) for b in back if b]
    return total([*(_believed(view, staged) for staged in view.snapshot.staged), *returns])


def _believed(view: View, staged: Staged) -> Part:
    """What becomes of a staged pair, unless only a jump of the clock makes it so and nobody asked for it."""
    stem, before = staged.pair.name.stem, view.before_jump
    found = _staged(view, staged)
    if before is None or view.snapshot.renewal(stem):
        return found
    same = [type(a) for a in found.actions] == [type(a) for a in _staged(before, staged).actions]
    return found if same else blocked("install", stem, view.jumped)


def _staged(view: View, staged: Staged) -> Part:
    stem, leaf = staged.pair.name.stem, staged.pair.leaf
    want = view.want(stem)
    if want is None:
        return Part((RejectStaged(stem, staged.pair.digests, "it is not configured"),))
    if not view.snapshot.clock.sound:
        return NOTHING
    live = view.pair(stem)
    reason = _never_again(view.snapshot, staged, live)
    if (left := shrink.unseen(view, staged)) and reason is None:
        why = f"a CA leaves the bundle, and {left.addresses[0]} was not seen since then to need it no more"
        if view.now < left.until:
            return blocked("install", stem, why, left.until)
        reason = why
    held = _unread(view.snapshot, want, staged) or layouts.waits(view, staged)
    if reason is None and (
        held := held or ahead.waits(view, staged) or _early(staged, view.now) or waits(view, staged, live)
    ):
        return held
    reason = reason or _refused(view, want, staged)
    if reason is not None or leaf is None:
        again = _again_at(view, want, staged)
        return Part((RejectStaged(stem, staged.pair.digests, reason or "there is no certificate", again),))
    return _passed(view, want, staged, leaf)


def _passed(view: View, want: Want, staged: Staged, leaf: Leaf) -> Part:
    """The installation of what passed the pre-install checks, unless something keeps it from being made."""
    stem = want.name.stem
    if waits := staged_held(view, staged):
        return _waiting(view, want, staged, waits)
    if bar := obstacle(view, want, staged):
        return blocked("install", stem, bar.sentence)
    again = swap_retry_at(view.history.failed_swaps(stem, leaf.fingerprint))
    if again is not None and view.now < again:
        return blocked("install", stem, "the last swap failed; the next attempt waits for the backoff", again)
    owner = want.key_owner or view.policy.owner
    why = f"{ready(want.name)}: {leaf.fingerprint[:12]}"
    return Part((Install(stem, staged.pair.digests, leaf.fingerprint, want.key_mode, owner.uid, owner.gid, why),))


def ready(name: Name) -> str:
    """What is there when a file is installed."""
    return "a valid trust bundle is staged" if name.is_bundle else "a valid certificate and key are staged"


def _waiting(view: View, want: Want, staged: Staged, waits: Held) -> Part:
    """A pair of another root that waits: it is set aside where an authority of the live root can renew meanwhile.

    The live pair must not expire because of a rotation that waits.
    """
    live = view.pair(want.name.stem)
    late = live is not None and live.effective is not None and view.now >= emergency_at(live.effective)
    if late and failover.of_roots(view.snapshot, want, anchors(live)):
        why = f"{waits.why}; less than 5 % of the live pair's lifetime is left, so its own CA is asked"
        return Part((RejectStaged(want.name.stem, staged.pair.digests, why, view.now + DAY),))
    if waits.person and view.snapshot.renewal(want.name.stem):
        return Part((RejectCommand("renew", want.name.stem, waits.why),)) + blocked(
            "install", want.name.stem, waits.why, refused=True
        )
    return blocked("install", want.name.stem, waits.why, waits.until)


def _unread(snapshot: Snapshot, want: Want, staged: Staged) -> Part | None:
    """It waits where what it is judged by was not read: a bundle, the system's roots, or for `client.node` its CA's."""
    silent = [a.name for a in snapshot.authorities if a.unreadable and a.name in want.authorities]
    what = f"the files of authority {silent[0]}" if silent and want.name == CLIENT_NODE else ""
    verified = staged.pair.trust
    if verified and verified.unread:
        what = "the roots that verify it"
    why = verified.problem if verified and verified.unread and verified.problem else f"{what} have not responded yet"
    return blocked("install", want.name.stem, f"{why}, so the pair cannot be checked") if what else None


def _early(staged: Staged, now: datetime) -> Part | None:
    """A CA with a clock ahead of this host: its certificate waits until it is valid, and is checked then."""
    at = valid_soon(staged.pair.leaf, now)
    if at is None:
        return None
    why = f"not valid before {stamp(at)}: the clock of its CA is ahead"
    return blocked("install", staged.pair.name.stem, why, at)


def _never_again(snapshot: Snapshot, staged: Staged, live: Pair | None) -> str | None:
    leaf = staged.pair.leaf
    if revoked := snapshot.revoked(leaf):
        return revoked
    if leaf is not None and leaf.fingerprint in snapshot.quarantined:
        return "this certificate was rolled back or revoked before"
    return "its key belongs to a revoked certificate" if same_key(snapshot, staged, live) else None


def _refused(view: View, want: Want, staged: Staged) -> str | None:
    """Why a staged pair must not go live."""
    live = view.pair(want.name.stem)
    asked = _asked(view, want, live)
    if want.name.is_bundle and (why := unproven(view, staged, live)):
        return f"it drops a CA that may be needed: {why}"
    limits = limit(view.snapshot, want, live or Pair(want.name)).uris
    return refusal(layouts.keep_dual_purpose(view, want), staged, live, asked, view.now, limits)


def _again_at(view: View, want: Want, staged: Staged) -> datetime | None:
    """From when on the CA may be asked again: now, if what it issued only waited for too long."""
    if aged(want, staged, view.now):
        return view.now
    return view.now + DAY if _untrusted(staged) else _chain_ends(view, staged)


def _untrusted(staged: Staged) -> bool:
    """Whether it is refused for its root: the next answer would have the same, so a day passes before it."""
    return staged.pair.trust is not None and staged.pair.trust.problem is not None


def _chain_ends(view: View, staged: Staged) -> datetime | None:
    """When to ask again after a certificate whose CA ends no later than the live one; None where that is not so.

    The next certificate ends with the same CA, until a person rotates that: a few are asked for, ever sooner.
    """
    new, live = staged.pair.effective, view.pair(staged.pair.name.stem)
    old = live.effective if live else None
    if not staged.pair.ends_by or new is None or old is None or new.not_after > old.not_after:
        return None
    return view.now + max(DAY, (new.not_after - view.now) / 5)


def _asked(view: View, want: Want, live: Pair | None) -> bool:
    """Whether the change itself was requested: then NotAfter need not be later."""
    findings = live_findings(view, want, live) if live else ()
    if live is None or any(f.rule.unusable for f in findings):
        return True
    reason = due(view, want, live, findings)
    return reason is not None and not reason.by_date
