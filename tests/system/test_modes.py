"""Modes are repaired at once, whatever else hangs."""

import io
import os
import sqlite3
import time

import pytest

from certagent.agent.reconciler import Reconciler
from certagent.agent.start import put_together
from certagent.config import load
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.state.ledger import Ledger
from tests.system.running import Host
from tests.waiting import DEADLINE, wait_until

pytestmark = pytest.mark.slow


def mode(host: Host, name: str = "node.key") -> int:
    return os.stat(host.certs / name).st_mode & 0o777


def test_key_mode_wide_is_repaired(host: Host) -> None:
    """chmod 0644 on a key: back to 0600, logged with the old mode."""
    host.once()
    with host.agent() as agent:
        for wide in (0o644, 0o666, 0o604):
            os.chmod(host.certs / "node.key", wide)
            wait_until(lambda: mode(host) == 0o600, "the repair")
        found = agent.wait_event("mode.repaired")
        assert (found["file"], found["level"]) == ("node.key", "warning")


def test_key_mode_is_repaired_while_probe_hangs(host: Host) -> None:
    """A server that accepts and never answers does not delay the repair of a key.

    A probe hangs for five seconds. On a machine that stands still as long itself it is tried again.
    """
    host.once()
    assert any(_repaired_within(host) < 4 for _ in range(5))


def _repaired_within(host: Host) -> float:
    """Seconds, while a probe hangs."""
    with host.server(environ={"STANDIN_MUTE": "1"}), host.agent() as agent:
        agent.wait_event("process.appeared")
        begin = time.monotonic()
        os.chmod(host.certs / "node.key", 0o644)
        wait_until(lambda: mode(host) == 0o600, "the repair")
        took = time.monotonic() - begin
        wait_until(lambda: "served.unreachable" in host.codes(), "the port is reported")
    return took


def checked(thread: Reconciler) -> None:
    """A whole pass begins after this is called, and has ended when it returns."""
    for _ in range(2):
        assert thread.do(lambda: None).wait(DEADLINE)


def test_key_modes_of_5000_keys_are_repaired_within_10_s(host: Host) -> None:
    """What is opened at once is closed in one pass, again and again: a repair does not cost more for those before it.

    At the sixth time every key counts as exposed, which is recorded. Processor time: the machine does other things too.
    """
    host.once()
    keys = [host.certs / f"client.u{n:04}.key" for n in range(5000)]
    for key in keys:
        key.touch(mode=0o600)
    ledger = Ledger.writing(str(host.base / "state" / "ledger.db"))
    log = Log(io.StringIO(), "json", clock)
    agent = put_together(load(str(host.config)), str(host.config), ledger, log, lambda _reason: None)
    service, thread = agent.service, agent.directories.threads[str(host.certs)]
    service.take_locks()
    service.go()
    try:
        checked(thread)
        for _ in range(6):
            for key in keys:
                key.chmod(0o644)
            begin = time.process_time()
            checked(thread)
            assert {mode(host, key.name) for key in keys} == {0o600}
            assert time.process_time() - begin < 10
        keys[7].chmod(0o644)
        begin = time.process_time()
        checked(thread)
        assert (mode(host, keys[7].name), time.process_time() - begin < 2) == (0o600, True)
    finally:
        service.stop()
        agent.events.stop()
        ledger.close()
    with sqlite3.connect(ledger.path) as base:
        assert base.execute("select count(*) from exposed").fetchone() == (5000,)


def test_enforce_report_leaves_file(host: Host) -> None:
    """`enforce = "report"`: a finding, and the file stays as it is."""
    host.once()
    os.chmod(host.certs / "node.key", 0o644)
    host.write(enforce='"report"')
    with host.agent():
        wait_until(lambda: "key.mode" in host.codes(), "the finding")
        assert mode(host) == 0o644


def test_repair_undone_repeatedly_is_exposed(host: Host) -> None:
    """Another program keeps undoing the repair: the key is closed immediately each time, and exposed until cleared.

    The log has one line of the repairs and no line of `key.mode` that comes and goes; a restart forgets nothing.
    """
    host.once()

    def undo() -> bool:
        wait_until(lambda: mode(host) == 0o600, "the repair")
        os.chmod(host.certs / "node.key", 0o644)
        return any(e["code"] == "key.exposed" for e in agent.events("finding.appeared"))

    with host.agent() as agent:
        wait_until(undo, "the alarm")
        for _ in range(20):
            undo()
        wait_until(lambda: mode(host) == 0o600, "the last repair")
        assert len(agent.events("mode.repaired")) == 1
    with host.agent():
        found = next(f for f in host.json("status")["certs_dirs"][0]["findings"] if f["code"] == "key.exposed")
        assert (found["severity"], "certagent clear node" in found["remedy"]) == ("critical", True)
        assert host.run("clear", "ui").returncode == 1
        assert host.run("clear", "node.key").returncode == 0
        wait_until(lambda: "key.exposed" not in host.codes(), "it is cleared")


def test_key_mode_of_unmanaged_key_is_repaired(host: Host) -> None:
    """A key under an unknown name is repaired too: it is a key."""
    host.once()
    (host.certs / "old-node.key").write_text("secret")
    os.chmod(host.certs / "old-node.key", 0o644)
    with host.agent():
        wait_until(lambda: mode(host, "old-node.key") == 0o600, "the repair")
        assert "name.unknown" in host.codes()
