"""The wall clock of the running agent, handed down as `now`: no decision reads one itself."""

from datetime import UTC, datetime


def clock() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
