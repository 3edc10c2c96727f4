"""`certagent authority test` where something is wrong on this host, and beside requests that are under way."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from certagent.config import load
from certagent.core.trial import STEPS
from certagent.operations.authority_test import trial
from certagent.posix.clock import clock
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import SharedOnly
from tests.authority.test_http import tunnel
from tests.authority.test_odd_answers import answering
from tests.servers.pebble import Pebble
from tests.servers.stepca import StepCa
from tests.servers.web import Handler, Web
from tests.system.running import Host, open_tmp
from tests.system.test_acme import PUBLIC, UI
from tests.system.test_owners import reachable
from tests.system.test_remote import configure as step_ca
from tests.waiting import DEADLINE

pytestmark = pytest.mark.slow
CFSSL = """
[authority.pki]
type = "cfssl"
url = "{url}"
auth_key = "{base}/auth.key"
"""
FOR_ACME = ("acme", "josepy", "OpenSSL", "requests", "certifi", "idna", "pyrfc3339", "dns", "typing_extensions")
CONSOLE = UI.format(name="console.test")


@pytest.fixture
def shared() -> Iterator[Host]:
    """A host in a directory that other users may enter."""
    made = Host(open_tmp())
    yield made
    shutil.rmtree(made.base)


def configure(host: Host, url: str, **options: str) -> None:
    (host.base / "auth.key").write_text("00" * 16)
    host.write(house=CFSSL.format(url=url, base=host.base), authority='"pki"', **options)
    host.make_certs()


def outcomes(host: Host) -> dict[str, str]:
    done = host.run("authority", "test", "pki", "--json")
    assert 1 == done.returncode
    return {s["name"]: s["outcome"] for s in json.loads(done.stdout)["steps"]}


def test_trial_of_broken_ca_names_reached_step(host: Host) -> None:
    """A CA that fails, or answers rubbish: it was reached, and credentials and policy stay unknown."""
    for status, body in ((500, b"no"), (200, b"{")):
        with answering(status, body) as url:
            configure(host, url)
            found = outcomes(host)
        assert {"settings": "ok", "reachable": "ok", "tls": "ok"} == {k: found[k] for k in list(found)[:3]}
        assert ("untried", "untried", "failed") == (found["credentials"], found["policy"], found["answer"])


@pytest.mark.parametrize("resident", [True, False], ids=["agent", "alone"])
def test_trial_prints_each_step_as_it_ends(host: Host, *, resident: bool) -> None:
    """While the CA has not answered, its reader knows already that the worker asks; nothing is printed twice."""
    read = threading.Event()

    def answer(handler: Handler) -> None:
        assert read.wait(DEADLINE)
        handler.reply(403, b"no")

    with Web(answer) as ca:
        configure(host, ca.url, clients="[]")
        with host.agent() if resident else nullcontext():
            command = [sys.executable, "-m", "certagent", "authority", "test", "pki", "-c", str(host.config)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as trying:
                assert trying.stdout
                begin = [trying.stdout.readline(), trying.stdout.readline()]
                read.set()
                rest = trying.stdout.readlines()
    assert begin[0] == f"authority pki (cfssl), as for node of {host.certs}\n"
    words = [line.split()[:2] for line in (begin[1], *rest)]
    assert words[:3] == [["ok", "settings"], ["ok", "reachable"], ["ok", "tls"]]
    assert len(words) == len(STEPS)
    assert (trying.returncode, sum(word[0] == "FAILED" for word in words)) == (1, 1)
    assert words[-1] == ["-", "gate"]
    assert rest[-1].endswith("not reached\n")


def test_trial_told_is_what_it_returns(host: Host) -> None:
    """Each step once, in order, as the document has it, whether or not all of them end well."""
    for options in ({"clients": "[]"}, {"clients": "[]", "names": "[]"}):
        host.write(**options)
        host.make_certs()
        told: list[dict[str, Any]] = []
        book = SharedOnly(str(host.base / "state" / "authority"))
        document = trial(load(str(host.config)), Workers(None), book, "house", "", clock, told.append)
        assert told[0]["about"]["authority"] == "house"
        assert [said["step"] for said in told[1:]] == document["steps"]


@pytest.mark.parametrize(
    ("key", "why"), [("xy" * 16, "auth_key: it is not hex"), ("", "auth_key"), (None, "No such file")]
)
def test_trial_with_unusable_local_credential_asks_nobody(host: Host, key: str | None, why: str) -> None:
    """The CA is there, and is not asked: the fault is in the settings of this host, and nothing is called reachable."""
    with answering(200, b"{}") as url:
        configure(host, url)
        (host.base / "auth.key").unlink()
        if key is not None:
            (host.base / "auth.key").write_text(key)
        assert ["failed", *["untried"] * 7] == list(outcomes(host).values())
        said = host.run("authority", "test", "pki").stdout
    assert why in said
    assert ("trusted" in said, said.count("not reached")) == (False, 7)


STEP = """
[authority.pki]
type = "step"
url = "{url}"
provisioner = "agents"
provisioner_key = "{base}/jwk.json"
issuing_roots = "{base}/none.pem"
"""
VAULT = """
[authority.pki]
type = "vault"
url = "{url}"
role = "nodes"
token = "{base}/jwk.json"
"""


@pytest.mark.parametrize(
    "table", [STEP.replace('issuing_roots = "{base}/none.pem"\n', ""), STEP, VAULT], ids=["jwk", "roots", "token"]
)
def test_trial_with_unusable_key_of_a_provisioner_asks_nobody(host: Host, table: str) -> None:
    """What is no JWK, no token of one line, or names a file that is missing: the same for every type of CA."""
    (host.base / "jwk.json").write_text("no key\nof any kind")
    with answering(200, b"{}") as url:
        host.write(house=table.format(url=url, base=host.base), authority='"pki"')
        host.make_certs()
        assert ["failed", *["untried"] * 7] == list(outcomes(host).values())


@pytest.mark.parametrize("line", ["#!/nowhere", "#!/bin/sh\nexit 3", "#!/bin/sh\necho no"])
def test_trial_of_failing_program_skips_endpoint(host: Host, line: str) -> None:
    """A program that cannot be run, fails, or prints no certificate: the endpoint step stays unknown."""
    script = host.base / "ca.sh"
    script.write_text(line + "\n")
    script.chmod(0o755)
    host.base.chmod(0o755)
    host.write(house=f"[authority.pki]\ntype = 'command'\ncommand = ['{script}']", authority='"pki"')
    host.make_certs()
    found = outcomes(host)
    assert ("ok", "untried", "untried") == (found["settings"], found["reachable"], found["tls"])
    assert "failed" in {found["credentials"], found["answer"]}


def test_trial_without_worker_blames_this_host(host: Host) -> None:
    """If no worker can be started, the fault is on this host: the CA was not asked, and is not called reachable."""
    configure(host, "http://127.0.0.1:1")
    workers = Workers(None)
    workers.stop()
    book = SharedOnly(str(host.base / "state" / "authority"))
    document = trial(load(str(host.config)), workers, book, "pki", "", clock)
    assert "failed" == document["steps"][0]["outcome"]
    assert "cannot ask" in document["steps"][0]["reason"]
    assert {"untried"} == {s["outcome"] for s in document["steps"][1:]}


@pytest.mark.real
def test_trial_through_proxy(host: Host, tmp_path: Path) -> None:
    """The confined worker reaches a CA by CONNECT through the configured proxy, whose port it may connect to."""
    asked: list[str] = []
    with StepCa(tmp_path / "step") as ca, Web(tunnel(asked)) as proxy:
        pin = f'issuing_fingerprints = ["{ca.fingerprint}"]\nproxy = "{proxy.url}"'
        step_ca(host, ca, pin)
        host.make_certs()
        found = host.json("authority", "test", "pki")
    assert (True, {"ok"}) == (found["ok"], {s["outcome"] for s in found["steps"]})
    assert {f"CONNECT {ca.url.removeprefix('https://')}"} == set(asked)


@pytest.mark.root
@pytest.mark.parametrize("theirs", ["state", "state/ledger.db"])
def test_trial_of_other_users_state_is_refused(host: Host, theirs: str) -> None:
    """Without a daemon, root changes nothing in another user's agent state: the error names the user to run it as.

    In the units the directory is root's, for several owners' agents; the ledger says whose agent it is.
    """
    configure(host, "http://127.0.0.1:1")
    state, nobody = host.base / "state", pwd.getpwnam("nobody")
    state.mkdir(mode=0o711)
    (host.base / "state/ledger.db").touch()
    os.chown(host.base / theirs, nobody.pw_uid, nobody.pw_gid)
    if theirs == "state":
        (state / "ledger.db").unlink()
    before = list(state.iterdir())
    done = host.run("authority", "test", "pki")
    assert (64, f"belongs to {nobody.pw_name}" in done.stderr) == (done.returncode, True)
    assert before == list(state.iterdir())


@pytest.mark.real
def test_trial_beside_first_request_shares_account(host: Host, tmp_path: Path) -> None:
    """A trial at the moment of the first request: one after the other on one port, and one account for both."""
    with Pebble(tmp_path / "pebble") as pebble:
        (host.base / "roots.pem").write_bytes(pebble.root())
        where = {"port": pebble.http_port, "ca": pebble.ca, "roots": host.base / "roots.pem"}
        table = PUBLIC.format(url=pebble.directory_url, address="127.0.0.1", **where)
        host.write(house=table, clients="[]", extra=CONSOLE)
        host.make_certs()
        words = [sys.executable, "-m", "certagent", "authority", "test", "public", "-c", str(host.config)]
        trials = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(2)]
        assert 0 == host.once().returncode
        said = [child.communicate(timeout=120)[0].decode() for child in trials]
        log = (tmp_path / "pebble" / "pebble.log").read_text()
    assert [0, 0] == [child.returncode for child in trials], said
    assert ["ok"] == [a["outcome"] for a in host.history("issue") if a["subject"] == "ui"]
    assert 1 == log.count("accounts in memory"), log


@pytest.mark.real
@pytest.mark.root
def test_trial_of_acme_without_privilege(shared: Host, tmp_path: Path) -> None:
    """An agent as nobody, without a capability: account, challenge on a port above 1024 and certificate, confined."""
    host, nobody = shared, pwd.getpwnam("nobody")
    with Pebble(tmp_path / "pebble") as pebble:
        (host.base / "roots.pem").write_bytes(pebble.root())
        (host.base / "endpoint.pem").write_bytes(pebble.ca.read_bytes())
        where = {"port": pebble.http_port, "ca": host.base / "endpoint.pem", "roots": host.base / "roots.pem"}
        table = PUBLIC.format(url=pebble.directory_url, address="127.0.0.1", **where)
        others = "[certs_dir.process]\nnames = ['none-of-this-host']\n"
        host.write(house=table, owner='"nobody"', clients="[]", extra=others + CONSOLE)
        host.make_certs()
        for path in (host.base, host.certs):
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        drop = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups", "--inh-caps=-all"]
        python = [*drop, "/usr/bin/python3", "-m", "certagent"]
        environ = reachable(host.base, *FOR_ACME)

        def run(*words: str) -> "subprocess.CompletedProcess[str]":
            command = [*python, *words, "-c", str(host.config)]
            return subprocess.run(
                command, env=environ, cwd="/", check=False, capture_output=True, text=True, timeout=120
            )

        tried, done = run("authority", "test", "public"), run("run", "--once", "--log", "json")
    assert (0, 0) == (tried.returncode, done.returncode), tried.stdout + done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert "ui" in {e["file"] for e in events if e["event"] == "pair.installed"}
    assert "worker.unconfined" not in done.stdout
    kept = [host.certs / "ui.key", host.base / "state" / "authority" / "public.json"]
    assert [(nobody.pw_uid, 0o600)] * 2 == [(p.stat().st_uid, p.stat().st_mode & 0o777) for p in kept]
