"""Attempts as rows of the ledger, whose columns have been the same since the first version.

They are kind, subject, at, outcome, reason, digest, retry_at. `digest` holds what an attempt of each kind was about; a
renewal window (RFC 9773) is in `reason`.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from certagent.core.facts import Attempt, Window

BROKEN_OFF = "interrupted"  # in the column alone: an attempt that failed by the agent's own end


def moment(seconds: float | None) -> datetime | None:
    """A column's moment, None for none."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def attempt_of(
    kind: Any, subject: str, at: float, outcome: Any, reason: str, digest: str, retry: float | None
) -> Attempt:
    """Given the columns of a row, return the attempt."""
    begun = Attempt(kind, subject, datetime.fromtimestamp(at, UTC))
    return ended(begun, outcome, reason, digest, moment(retry))


def row_of(a: Attempt) -> tuple[Any, ...]:
    """Given an attempt, return the columns."""
    retry = a.retry_at.timestamp() if a.retry_at else None
    return (a.kind, a.subject, a.at.timestamp(), outcome_of(a), a.reason, a.about, retry)


def outcome_of(a: Attempt) -> str:
    """The column of its outcome."""
    return BROKEN_OFF if a.interrupted else a.outcome


def ended(attempt: Attempt, outcome: Any, reason: str, digest: str, retry_at: datetime | None) -> Attempt:
    """The attempt with its result; what it was about stays, unless it is given again."""
    known = {attempt.about_field: digest} if digest else {}
    window = read_window(reason) if attempt.kind == "window" and outcome == "ok" else None
    broken_off = outcome == BROKEN_OFF
    ending = replace(attempt, reason=reason, retry_at=retry_at, window=window, interrupted=broken_off)
    return replace(ending, outcome="failed" if broken_off else outcome, **known)  # type: ignore[arg-type]


SHOWN = ("id", "certs_dir", "kind", "subject", "at", "outcome", "reason", "digest")


def shown(rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Attempts as they are shown in a history, with the time in RFC 3339."""
    found = [dict(zip(SHOWN, row, strict=True)) for row in rows]
    for row in found:
        at = datetime.fromtimestamp(row["at"], UTC)
        row["at"] = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
    return found


def written(window: Window) -> str:
    """A window as `START/END EXPLANATION`, an ISO 8601 interval and the CA's words."""
    return f"{window.start.isoformat()}/{window.end.isoformat()} {window.explanation}".strip()


def read_window(text: str) -> Window | None:
    """The same read back; None for anything else."""
    interval, _, explanation = text.partition(" ")
    start, _, end = interval.partition("/")
    try:
        return Window(datetime.fromisoformat(start), datetime.fromisoformat(end), explanation)
    except ValueError:
        return None
