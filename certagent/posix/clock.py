"""The wall clock of the running agent, passed on as `now`: no decision reads a clock itself."""

from datetime import UTC, datetime


def clock() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)
