"""What a command does as another user, in a child that becomes that user."""

import os
import signal

import pytest

from certagent.posix.as_user import apart
from certagent.posix.errors import HostError

NOBODY = (65534, 65534)


@pytest.mark.root
def test_task_of_another_user_is_done_and_told() -> None:
    """By that user; what it raises is raised here."""
    assert apart(NOBODY, lambda: [os.getuid(), "x" * 100_000]) == [65534, "x" * 100_000]
    with pytest.raises(HostError, match="not today"):
        apart(NOBODY, lambda: (_ for _ in ()).throw(OSError("not today")))


@pytest.mark.root
def test_task_whose_user_stops_it_is_not_waited_for() -> None:
    """A user may stop each process that has become theirs."""
    with pytest.raises(HostError, match="did not finish within"):
        apart(NOBODY, lambda: os.kill(os.getpid(), signal.SIGSTOP), deadline=0.2)
