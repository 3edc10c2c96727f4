"""The logs of the processes that tests start: where a test fails, the end of each that was written meanwhile is shown.

A deadline alone says nothing, and a directory of a test is gone with the machine that ran it.
"""

from collections.abc import Iterator
from pathlib import Path

NOTED: dict[Path, None] = {}
LINES = 40


def note(path: Path) -> Path:
    """From now on it is one of them."""
    NOTED[path] = None
    return path


def end_of(path: Path, lines: int = LINES) -> str:
    """Its last lines, "" where it is not there."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def written(since: float) -> Iterator[tuple[str, str]]:
    """Given a moment (seconds since 1970), yield the name and the end of each log that was written after it."""
    for path in NOTED:
        if path.exists() and path.stat().st_mtime >= since and (text := end_of(path)):
            yield f"the end of {path}", text
