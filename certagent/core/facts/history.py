"""The attempts in one certs-dir and what follows from them: only this module distinguishes their kinds."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from certagent.core.facts.processes import Process
from certagent.core.facts.records import Attempt, Window

SWAPS = frozenset({"install", "rollback"})
CHANGES = SWAPS | {"issue"}
CHANGE = "change"
VERIFIED = frozenset({"ok", "presumed"})  # of a reload: what the process serves is what was on disk


class History(tuple[Attempt, ...]):  # noqa: SLOT001 - what is found once is kept in it
    """Every known attempt, oldest first; with what follows from them alone, found once until there is another one."""

    @cached_property
    def interrupted(self) -> bool:
        """Whether the agent's own end broke one off."""
        return any(a.interrupted for a in self)

    @cached_property
    def _by_kind(self) -> dict[tuple[str, str], tuple[Attempt, ...]]:
        """By subject and kind, and every change of a pair: for a directory of ten thousand pairs."""
        found = defaultdict[tuple[str, str], list[Attempt]](list)
        for attempt in self:
            found[attempt.subject, attempt.kind].append(attempt)
            if attempt.kind in CHANGES:
                found[attempt.subject, CHANGE].append(attempt)
        return {key: tuple(attempts) for key, attempts in found.items()}

    def _of(self, subject: str, kind: str) -> tuple[Attempt, ...]:
        return self._by_kind.get((subject, kind), ())

    def _changes(self, stem: str) -> tuple[Attempt, ...]:
        """The issuances, installations and rollbacks of a pair."""
        return self._of(stem, CHANGE)

    @cached_property
    def swaps(self) -> tuple[Attempt, ...]:
        """The completed installations and rollbacks of every pair."""
        return tuple(a for a in self if a.kind in SWAPS and a.outcome == "ok")

    @cached_property
    def swapped(self) -> tuple[datetime, ...]:
        """When each of them was made."""
        return tuple(a.at for a in self.swaps)

    def installs(self, stem: str) -> tuple[Attempt, ...]:
        """The completed installations of a pair or bundle."""
        return tuple(a for a in self._of(stem, "install") if a.outcome == "ok")

    def last_install(self, stem: str, fingerprint: str | None = None) -> Attempt | None:
        """The newest completed installation; of that certificate, where one is named."""
        for attempt in reversed(self._of(stem, "install")):
            if attempt.outcome == "ok" and (fingerprint is None or attempt.fingerprint == fingerprint):
                return attempt
        return None

    def failed_swaps(self, stem: str, fingerprint: str) -> tuple[Attempt, ...]:
        """The swaps to that certificate that failed, or whose result is not known."""
        mine = (a for a in self._changes(stem) if a.kind in SWAPS and a.fingerprint == fingerprint)
        return tuple(a for a in mine if a.outcome in {"failed", "asked"})

    def failed_swap(self, stem: str) -> Attempt | None:
        """The newest installation or rollback of a pair, if it failed."""
        for attempt in reversed(self._changes(stem)):
            if attempt.kind in SWAPS:
                return attempt if attempt.outcome == "failed" else None
        return None

    def issues(self, stem: str) -> tuple[Attempt, ...]:
        """Every issuance that was attempted."""
        return self._of(stem, "issue")

    def issued(self, stem: str) -> tuple[Attempt, ...]:
        """The issuances that an authority answered."""
        return tuple(a for a in self.issues(stem) if a.outcome == "ok")

    def failed_since_success(self, authority: str) -> int:
        """How many issuances of that authority failed since it last answered or took one, whatever they were for."""
        failed = 0
        for attempt in self:
            if (attempt.kind, attempt.authority) == ("issue", authority):
                failed = 0 if attempt.outcome in {"ok", "retry"} else failed + attempt.failed
        return failed

    def failures(self, stem: str) -> tuple[Attempt, ...]:
        """The issuances and rollbacks of a pair since its last completed installation.

        A refusal by the pre-install checks gives its reason, and when to ask again. A CA that answers later is not a
        failure.
        """
        known = self._failures.get(stem)
        if known is None:
            known = self._failures[stem] = self._failed(stem)
        return known

    @cached_property
    def _failures(self) -> dict[str, tuple[Attempt, ...]]:
        """By stem: one decision asks for those of a pair a dozen times."""
        return {}

    def _failed(self, stem: str) -> tuple[Attempt, ...]:
        since: list[tuple[Attempt, Attempt | None]] = []  # what was attempted, and the newest swap to its certificate
        for attempt in self._changes(stem):
            if attempt.kind == "install" and attempt.outcome == "ok":
                since.clear()
            elif attempt.kind != "install" and attempt.outcome != "retry":
                since.append((attempt, None))
            elif attempt.kind == "install" and since:
                since[-1] = since[-1][0], attempt
        return tuple(_not_installed(issue, swap) if swap else issue for issue, swap in since)

    def waiting(self, stem: str) -> Attempt | None:
        """The newest issuance of a pair that ended, where the CA said that it answers later.

        The agent's own end takes no request back.
        """
        for attempt in reversed(self._changes(stem)):
            if attempt.outcome != "asked" and not attempt.interrupted:
                return attempt if attempt.outcome == "retry" else None
        return None

    def signals(self, process: Process) -> tuple[Attempt, ...]:
        """The reloads recorded for a process."""
        return self._of(process.identity, "reload")

    def unanswered(self, process: Process, material: str) -> tuple[Attempt, ...]:
        """The signals sent for this material since anything was last verified."""
        run: list[Attempt] = []
        for attempt in self.signals(process):
            run = [] if attempt.outcome in VERIFIED or attempt.material != material else [*run, attempt]
        return tuple(run)

    def windows(self, stem: str) -> tuple[Attempt, ...]:
        """The questions to a CA when it wants the pair renewed (RFC 9773)."""
        return self._of(stem, "window")

    def window(self, stem: str, fingerprint: str) -> Window | None:
        """The newest answer about this very certificate; None where the CA has not given any."""
        answers = (a for a in reversed(self.windows(stem)) if a.outcome == "ok" and a.fingerprint == fingerprint)
        return next((a.window for a in answers), None)

    def commands(self, stem: str, command: str) -> tuple[Attempt, ...]:
        """Every time that an operator gave a command about a pair or bundle."""
        return tuple(a for a in self._of(stem, "command") if a.command == command and a.outcome == "ok")

    def last(self, stem: str) -> Attempt | None:
        """The newest attempt to change a pair."""
        return next(reversed(self._changes(stem)), None)


def counted(failed: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Given what failed, oldest first, return what delays the next attempt.

    The newest does not where only the agent's own end broke it off: no CA refused it. Of two such in a row both count,
    so that an agent that ends again and again does not ask a CA each time.
    """
    *others, newest = failed or (None,)
    alone = newest is not None and newest.interrupted and not (others and others[-1] and others[-1].interrupted)
    return failed[:-1] if alone else failed


def completed(attempts: tuple[Attempt, ...], live: Mapping[str, str]) -> tuple[Attempt, ...]:
    """Given the attempts, oldest first, and the fingerprint of each live pair, return what became of each swap.

    The newest swap of a pair, which the agent's own end broke off, succeeded if its certificate is the live one:
    recovery completed it.
    """
    newest = {a.subject: n for n, a in enumerate(attempts) if a.kind in SWAPS}
    broken_off = ((n, attempts[n]) for n in newest.values() if attempts[n].interrupted)
    done = {n for n, a in broken_off if a.fingerprint == live.get(a.subject)}
    return tuple(replace(a, outcome="ok", interrupted=False) if n in done else a for n, a in enumerate(attempts))


def _not_installed(issue: Attempt, install: Attempt) -> Attempt:
    """An issuance whose certificate was not installed: it ended as that did.

    The CA answered wrongly unless it may be asked again from that moment on: then the certificate only waited too long.
    A swap that the agent's own end broke off says nothing of the answer either: recovery may have completed it.
    """
    blameless = install.interrupted or (install.retry_at is not None and install.retry_at <= install.at)
    answered = not blameless and (issue.kind, issue.outcome) == ("issue", "ok")
    ended = replace(issue, outcome=install.outcome, reason=install.reason, retry_at=install.retry_at)
    ended = replace(ended, interrupted=install.interrupted)
    return replace(ended, answered=answered, unswapped=install.outcome != "refused")
