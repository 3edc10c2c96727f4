"""An agent that ends again and again is never "ok": neither while it runs nor between its starts."""

import signal

import pytest

from tests.system.running import Host, looked
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_agent_killed_three_times_is_restarting(host: Host) -> None:
    """Stops and starts are none, two kills are none; with the third it is a warning of the agent and without it."""
    host.once()
    for _ in range(3):
        with host.agent():
            pass
    for _ in range(3):
        with host.agent() as agent:
            wait_until(lambda: host.status()["severity"] in {"ok", "info"}, lambda: f"{host.codes()} are over")
            agent.stop(signal.SIGKILL)
    with host.agent():
        wait_until(lambda: "agent.restarting" in host.codes(), "it is found")
        done = looked("status", "-c", str(host.config))
        assert done.returncode == 1
        said = " ".join(done.stdout.split())
        assert "warning agent.restarting: the agent ended unexpectedly and was started again 3 times" in said
    assert host.codes() >= {"agent.restarting", "agent.down"}
