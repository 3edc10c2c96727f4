"""A CA run by people, under a whole daemon: the request, the wait, a crash meanwhile, the answer, served."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.making import Ca, make_ca
from tests.system.running import Agent, Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
PEOPLE = """
[authority.people]
type = "dropbox"
outbox = "{base}/outbox"
inbox = "{base}/inbox"
remind = "{remind}"
"""


def configure(host: Host, remind: str = "1d", **options: str) -> Ca:
    """The people's CA, its root in the bundle already."""
    ca = make_ca("people's CA")
    host.make_certs()
    (host.certs / "ca.crt").write_bytes(ca.cert)
    (host.base / "people.crt").write_bytes(ca.cert)
    (host.base / "people.key").write_bytes(ca.key)
    table = PEOPLE.format(base=host.base, remind=remind)
    host.write(house=table, **{"authority": '"people"', "clients": "[]", **options})
    return ca


def request_of(host: Host, stem: str = "node") -> Path:
    """The request in the outbox."""
    return wait_until(lambda: next(iter((host.base / "outbox").glob(f"*.{stem}.*.csr")), None), "the request")


def person(host: Host, request: Path, name: str = "signed.pem") -> None:
    """Somebody signs what lies in the outbox with openssl, and copies the result to the inbox."""
    ca = ["-CA", host.base / "people.crt", "-CAkey", host.base / "people.key"]
    extensions = host.base / "extensions"
    extensions.write_text("extendedKeyUsage = serverAuth, clientAuth\nbasicConstraints = critical, CA:FALSE\n")
    command = ["openssl", "x509", "-req", "-in", request, *ca, "-days", "30", "-copy_extensions", "copy"]
    command += ["-extfile", extensions, "-set_serial", "7"]
    signed = subprocess.run(command, check=True, capture_output=True).stdout
    (host.base / "inbox" / name).write_bytes(signed)


def installed(agent: Agent) -> None:
    agent.wait_event("pair.installed", lambda e: e["file"] == "node")


def test_dropbox_first_issuance_survives_crash(host: Host) -> None:
    """Asked, killed with -9, started again: the same request with the same key; the answer is installed and served."""
    configure(host)
    with host.agent() as agent:
        agent.wait_event("issue.waiting")
        request = request_of(host)
        text = request.read_text()
        os.mkfifo(host.base / "inbox" / "trap")
        agent.stop(signal.SIGKILL)
    key = (host.certs / ".certagent" / "pending" / "node.key").read_bytes()
    with host.agent() as agent:
        wait_until(lambda: "renewal.waiting" in host.codes(), "the finding")
        assert request.read_text() == text
        person(host, request)
        installed(agent)
        assert (host.certs / "node.key").read_bytes() == key
        assert not request.exists()
        assert ["trap"] == [p.name for p in (host.base / "inbox").iterdir()]
    with host.server() as cockroach, host.agent():
        wait_until(lambda: host.file("node")["proof"] == "served", "served")
        assert cockroach.served("sql") == host.file("node")["fingerprint"]
    assert "renewal.waiting" not in host.codes()


def test_dropbox_reminders_count_no_failure(host: Host) -> None:
    """Without an answer, a warning at each interval; no attempt counts as failed."""
    configure(host, remind="1s")
    with host.agent() as agent:
        found = agent.wait_event("issue.reminder", count=2)
        assert ("warning", True) == (found["level"], str(host.base / "inbox") in found["reason"])
        assert "renewal.failing" not in host.codes()
        assert 0 == host.file("node")["attempts"]


def test_dropbox_renewal_by_hand(host: Host) -> None:
    """A renewal is asked for; an old certificate changes nothing; the answer to the request is served."""
    configure(host, clients='["root"]')
    with host.agent() as agent:
        for stem in ("node", "client.root"):
            person(host, request_of(host, stem), f"{stem}.pem")
            agent.wait_event("pair.installed", lambda e, stem=stem: e["file"] == stem)
    with host.server() as cockroach, host.agent() as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "served")
        first = cockroach.served("sql")
        assert host.run("renew", "node", "--wait", "1").returncode == 1
        request = request_of(host)
        (host.base / "inbox" / "old.crt").write_bytes((host.certs / "node.crt").read_bytes())
        agent.wait_event("issue.reminder")
        assert cockroach.served("sql") == first
        person(host, request)
        wait_until(lambda: cockroach.served("sql") not in {None, first}, "the new one is served")


def test_dropbox_answer_of_other_ca_is_discarded(host: Host) -> None:
    """A certificate of a CA outside the bundle: discarded with the reason, and the request is made anew."""
    configure(host)
    with host.agent() as agent:
        request = request_of(host)
        other = make_ca("another CA")
        (host.base / "people.crt").write_bytes(other.cert)
        (host.base / "people.key").write_bytes(other.key)
        person(host, request)
        refused = agent.wait_event("pair.refused", lambda e: e["file"] == "node")
        assert "ca.crt" in refused["reason"]
        wait_until(lambda: not request.exists() and request_of(host), "another request")
    assert not (host.certs / "node.crt").exists()


def test_dropbox_trial_leaves_nothing_behind(host: Host) -> None:
    """`authority test` of a drop box: both directories are tried, and no request for a throw-away key is left."""
    configure(host)
    found = host.json("authority", "test", "people")
    step = next(s for s in found["steps"] if s["outcome"] == "failed")
    assert (step["name"], "a person answers" in step["reason"]) == ("reachable", True)
    assert list((host.base / "outbox").iterdir()) == []
    (host.base / "outbox").chmod(0o777)
    step = next(s for s in host.json("authority", "test", "people")["steps"] if s["outcome"] == "failed")
    assert (step["name"], "chmod go-w" in step["reason"]) == ("settings", True)
