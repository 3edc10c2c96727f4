"""How much the log says of what repeats: a few lines of one kind, then one a minute with the count of those left out.

A process that flaps or a disk that is full must not fill the journal, whose oldest entries would then be lost. What
changed something for good (a pair that was installed, a command) is always written.
"""

from dataclasses import dataclass, field
from typing import Any

from certagent.events.catalogue import EVENTS

BURST = 10
MINUTE = 60.0
Row = dict[str, Any]


@dataclass(slots=True)
class Window:
    """One minute of one kind of line."""

    begin: float
    lines: int  # that were written in it
    last: Row = field(default_factory=dict)  # the newest that was left out
    left: int = 0  # how many were


class Volume:
    """Of one log. Used under its lock."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self._windows: dict[tuple[str, ...], Window] = {}

    def admitted(self, row: Row, at: float) -> list[Row]:
        """Given a line and the monotonic time, return the lines that are written now: it, or not, and what was due."""
        due = self.due(at)
        if not EVENTS[row["event"]].repeats:
            return [*due, row]
        key = tuple(str(row.get(k, "")) for k in ("event", "certs_dir", "file", "code"))
        window = self._windows.setdefault(key, Window(at, 0))
        if window.lines < BURST:
            window.lines += 1
            return [*due, row]
        window.last, window.left = row, window.left + 1
        return due

    def due(self, at: float) -> list[Row]:
        """Of each kind whose minute is over the newest line that was left out, with the count of the others."""
        over = {key: w for key, w in self._windows.items() if at - w.begin >= MINUTE}
        for key, window in over.items():
            if window.left:  # it repeats: one line in the minute that begins
                self._windows[key] = Window(at, BURST)
            else:
                del self._windows[key]
        return [w.last | ({"left_out": w.left - 1} if w.left > 1 else {}) for w in over.values() if w.left]
