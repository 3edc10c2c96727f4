"""What the log says of one certs directory after each check: findings that changed, and what was done."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from certagent.core.actions import Action, shown, subject_of, word_of
from certagent.core.decide import severity
from certagent.core.findings import Finding
from certagent.core.mending import mending
from certagent.core.rotation.shown import under_way
from certagent.core.spans import span
from certagent.core.view import Planned
from certagent.events import Level, Log, changes
from certagent.posix.clock import clock

if TYPE_CHECKING:
    from datetime import datetime

    from certagent.core.rotation.phases import Rotation

# no line in the log: looking, and repairs of modes, which have a line of their own, once a minute
QUIET = frozenset({"probe", "lookat", "scan", "presume", "askwindow", "askrevocation", "restrict", "expose"})

UNDER_WAY = "nothing to do: certagent is requesting or installing it"  # until that has failed once
SAID = {  # where the word of the interface is no sentence
    "proven": "verified",
    "decline": "cancelled the command for",
    "discard": "set aside",
    "adopt": "took over",
    "endwords": "ended the rotation of",
    "prune": "staged a smaller",
    "recordscope": "took note of the tenants of",
}


class News:
    """Of one certs directory; only its thread uses it."""

    def __init__(self, path: str, log: Log) -> None:
        """Nothing was said yet."""
        self._path, self._log = path, log
        self._said: tuple[Finding, ...] = ()
        self._rotating: dict[tuple[str, str], Rotation] = {}
        self._appeared: dict[tuple[str, str], datetime] = {}  # findings that are not resolved yet
        self._expected: set[tuple[str, str]] = set()  # those that the agent is about to mend, as was said

    def say(self, found: Planned, done: Iterable[Action]) -> None:
        """Log what changed since the last call."""
        news = self._news(found)
        self._said = found.plan.findings
        for event, f in news:
            self._tell(event, f, expected=event != "finding.cleared" and mending(f, found))
        self._rotations(found)
        steps = [step(a) for a in done if word_of(a) not in QUIET]
        if steps or news:
            reason = ", ".join(dict.fromkeys(steps)) or "findings changed"
            worst = severity(found.plan)
            self._log.emit("converged", certs_dir=self._path, reason=reason, actions=len(steps), severity=worst)

    def _rotations(self, found: Planned) -> None:
        """Each phase that a rotation reached, and that it is over."""
        view = found.at(clock())
        now = {(r.bundle, r.root): r for r in under_way(view)} if found.current else self._rotating
        for key, r in now.items():
            before = self._rotating.get(key)
            if before is None or (before.phase, before.waits) != (r.phase, r.waits):
                reason, about = f"to {r.subject}, {r.phase}: {r.why}", {"phase": r.phase, "waits_for": r.waits}
                self._log.emit("rotation.phase", None, certs_dir=self._path, file=r.bundle, reason=reason, **about)
        for (bundle, _), r in self._rotating.items():
            if bundle not in {b for b, _ in now}:
                self._log.emit("rotation.ended", certs_dir=self._path, file=bundle, reason=f"to {r.subject}")
        self._rotating = now

    def _news(self, found: Planned) -> list[tuple[str, Finding]]:
        """What appeared, changed and cleared; what was expected to be mended and was not is news, too."""
        news = changes(self._said, found.plan.findings)
        known = {(f.code, f.file) for _, f in news}
        late = [f for f in found.plan.findings if (f.code, f.file) in self._expected - known and not mending(f, found)]
        return news + [("finding.changed", f) for f in late]

    def _tell(self, event: str, f: Finding, *, expected: bool) -> None:
        """What is about to be mended is no error: it is one as soon as that failed."""
        key = (f.code, f.file)
        (self._expected.add if expected else self._expected.discard)(key)
        remedy = "" if event == "finding.cleared" else UNDER_WAY if expected else f.remedy
        level: Level | None = "info" if expected else None
        reason = self._reason(event, f)
        about = {"code": f.code, "severity": f.severity}
        self._log.emit(event, level, certs_dir=self._path, file=f.file, reason=reason, remedy=remedy, **about)

    def _reason(self, event: str, finding: Finding) -> str:
        """The finding's own sentence; of one that was resolved also how long it lasted."""
        key, now = (finding.code, finding.file), clock()
        if event != "finding.cleared":
            self._appeared.setdefault(key, now)
            return finding.message
        return f"resolved after {span(now - self._appeared.pop(key, now))}: {finding.message}"


def step(action: Action) -> str:
    """What was done, and what it was done to: "install node"."""
    word = word_of(action)
    return f"{SAID.get(word, word)} {shown(subject_of(action))}".strip()
