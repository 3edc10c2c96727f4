"""kill -9 of a worker alone: the agent goes on, leaves no process behind, and does the work again."""

import shutil
import signal
from collections.abc import Iterator

import psutil
import pytest

from certagent.x509 import parse_certificates
from tests.system.running import Agent, Host, open_tmp
from tests.system.test_command import ca_dir, program, table
from tests.waiting import wait_until

HOLD = 'if [ -e "$CA_DIR/hold" ]; then sleep 1000; fi'


@pytest.fixture
def host() -> Iterator[Host]:
    """A host whose directories the worker's user may enter, with a program as its CA."""
    made = Host(open_tmp())
    made.make_certs()
    place, example = ca_dir(made), program(made, "command-openssl-ca.sh").read_text()
    pin = parse_certificates((place / "ca.crt").read_bytes())[0].fingerprint
    shutil.copy(place / "ca.crt", made.certs)
    (made.certs / "ca.crt").chmod(0o644)
    lines = [f"environment = {{ CA_DIR = '{place}' }}", f"writable = ['{place}']", f"issuing_fingerprints = ['{pin}']"]
    made.write(house=table(program(made, "sign.sh", f"{HOLD}\n{example}"), *lines), authority='"pki"', clients="[]")
    yield made
    shutil.rmtree(made.base)


def children(agent: Agent) -> list[psutil.Process]:
    assert agent.process is not None
    return psutil.Process(agent.process.pid).children(recursive=True)


def named(agent: Agent, word: str) -> psutil.Process | None:
    """The child with that word in its command line."""
    for child in children(agent):
        try:
            if word in " ".join(child.cmdline()):
                return child
        except psutil.Error:
            continue
    return None


def test_worker_killed_alone_costs_one_attempt(host: Host) -> None:
    """Its program ends with it, the attempt says so, and the next one is made after the first pause."""
    hold = host.base / "openssl-ca" / "hold"
    hold.touch()
    with host.agent() as agent:
        program_ = wait_until(lambda: named(agent, "sleep 1000"), "the program runs")
        worker = wait_until(lambda: named(agent, "certagent.authority.worker"), "its worker")
        hold.unlink()
        worker.send_signal(signal.SIGKILL)
        said = agent.wait_event("issue.failed")
        assert "signal 9" in said["reason"]
        wait_until(lambda: not program_.is_running(), "the program ends with its worker")
        agent.wait_event("pair.installed", lambda e: e["file"] == "node")
        wait_until(lambda: not children(agent), "no child is left")
    assert [] == [a for a in host.history("issue") if a["outcome"] == "asked"]
