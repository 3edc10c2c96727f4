"""What makes the loop of the agent have its directories checked."""

from certagent.agent.loop import concerning_all


def test_configuration_that_was_read_has_every_directory_checked() -> None:
    """A broken one is a finding of each, which is seen at once; the progress of one directory concerns no other."""
    assert concerning_all(["due", "configuration read"]) == ["configuration read"]
    assert concerning_all(["files changed", "authorities read", "stop"]) == ["authorities read", "files changed"]
    assert concerning_all([]) == []
