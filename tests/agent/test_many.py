"""Many certs directories under one agent."""

import io
import threading
from pathlib import Path

from certagent.agent.start import put_together
from certagent.config import load
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.state.directory import StateDirectory
from tests.system.running import ME
from tests.waiting import wait_until

NUMBER = 60
HEAD = """
[agent]
state_dir = "{base}/state"
socket = "{base}/control.sock"
[authority.others]
type = "none"
"""
EACH = """
[[certs_dir]]
path = "{path}"
owner = "{me}"
authority = "others"
names = ["localhost"]
clients = []
"""
COMMON = 4  # the ledger's, the one for file events, and two that may just be reading or recording


def test_idle_directory_needs_one_thread(tmp_path: Path) -> None:
    """Its own; the watch of all of them has one, and jobs have none when they are done. All end at the stop."""
    places = [tmp_path / f"{number}" for number in range(NUMBER)]
    for place in places:
        place.mkdir(mode=0o700)
    config = tmp_path / "config.toml"
    config.write_text(HEAD.format(base=tmp_path) + "".join(EACH.format(path=p, me=ME) for p in places))
    before, state = set(threading.enumerate()), StateDirectory(str(tmp_path / "state"))
    state.open()
    agent = put_together(
        load(str(config)), str(config), state.ledger, Log(io.StringIO(), "json", clock), lambda _: None
    )
    try:
        agent.service.take_locks()
        agent.service.go()
        agent.service.wait_until_looked(120)
        wait_until(lambda: not any(world.busy for world in agent.directories), "their jobs end")
        wait_until(lambda: len(set(threading.enumerate()) - before) <= NUMBER + COMMON, "one thread each")
    finally:
        assert agent.service.stop()
        agent.events.stop()
        state.ledger.close()
    wait_until(lambda: len(set(threading.enumerate()) - before) <= COMMON, "they end")
