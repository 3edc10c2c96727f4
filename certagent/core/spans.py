"""A length of time in words: "430 ms", "3 h", "2 d 4 h"."""

from datetime import datetime, timedelta

UNITS = ((86400 * 365, "y"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def span(length: timedelta) -> str:
    """Given a length, return its two largest units; under a second milliseconds; "0 s" for none and for less."""
    seconds = max(0, int(length.total_seconds()))
    parts = []
    for size, unit in UNITS:
        if seconds >= size:
            parts.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join(parts[:2]) or _short(length)


def _short(length: timedelta) -> str:
    return f"{length // timedelta(milliseconds=1)} ms" if length >= timedelta(milliseconds=1) else "0 s"


def stamp(at: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
