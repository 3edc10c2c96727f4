"""What the log says of one certs directory after each check: findings that changed, and what was done."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from certagent.core.actions import Action, shown, subject_of, word_of
from certagent.core.decide import severity
from certagent.core.findings import Finding
from certagent.core.spans import span
from certagent.core.view import Planned
from certagent.events import Log, changes
from certagent.posix.clock import clock

if TYPE_CHECKING:
    from datetime import datetime

# no line in the log: looking, and repairs of modes, which have a line of their own, once a minute
QUIET = frozenset({"probe", "scan", "presume", "askwindow", "askrevocation", "restrict", "expose"})

SAID = {  # where the word of the interface is no sentence
    "proven": "verified",
    "decline": "cancelled the command for",
    "discard": "set aside",
    "adopt": "took over",
    "recordscope": "took note of the tenants of",
}


class News:
    """Of one certs directory; only its thread uses it."""

    def __init__(self, path: str, log: Log) -> None:
        """Nothing was said yet."""
        self._path, self._log = path, log
        self._said: tuple[Finding, ...] = ()
        self._appeared: dict[tuple[str, str], datetime] = {}  # findings that are not resolved yet

    def say(self, found: Planned, done: Iterable[Action]) -> None:
        """Log what changed since the last call."""
        news = changes(self._said, found.plan.findings)
        self._said = found.plan.findings
        for event, f in news:
            about = {"code": f.code, "severity": f.severity}
            reason = self._reason(event, f)
            self._log.emit(event, certs_dir=self._path, file=f.file, reason=reason, remedy=f.remedy, **about)
        steps = [step(a) for a in done if word_of(a) not in QUIET]
        if steps or news:
            reason = ", ".join(dict.fromkeys(steps)) or "findings changed"
            worst = severity(found.plan)
            self._log.emit("converged", certs_dir=self._path, reason=reason, actions=len(steps), severity=worst)

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
