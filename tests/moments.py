"""What tests take for now. None takes it at import: a slow machine runs a test an hour after it was collected."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)
