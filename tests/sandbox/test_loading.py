"""A worker that becomes another user has loaded everything before: the interpreter may be closed to that user."""

import json
import shutil
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from certagent.authority.messages import Request, State, Tls, dump_question
from certagent.sandbox.worker_process import Workers
from tests.authority.asker import Asker
from tests.authority.calling import key_and_csr
from tests.authority.test_est import question, trusting
from tests.making import make_ca
from tests.revocation.responders import answer, links, reply, responder, sending
from tests.sandbox.late import NOBODY
from tests.servers.est import EstServer
from tests.servers.process import closed_port
from tests.system.running import open_tmp

pytestmark = [pytest.mark.slow, pytest.mark.root]
SECRETS = {"token": "x", "auth_key": "00" * 16}
ASKED = {
    "acme": {"challenge": "dns-01", "dns_server": "127.0.0.1"},
    "cfssl": {},
    "command": {"command": ["/bin/false"]},
    "dropbox": {"inbox": "/nowhere/in", "outbox": "/nowhere/out"},
    "step": {"provisioner": "x"},
    "vault": {"role": "x", "auth": "token"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EstServer]:
    with EstServer(tmp_path_factory.mktemp("est")) as running:
        yield running


@pytest.fixture
def reachable() -> Iterator[Path]:
    made = open_tmp()
    yield made
    shutil.rmtree(made)


def late(module: str, words: list[str], data: bytes) -> list[str]:
    """What the worker looked for among the libraries after it became `nobody`."""
    told = Workers((NOBODY, NOBODY)).ask("tests.sandbox.late", [f"certagent.{module}", *words], data, 60)
    return told.decode().splitlines()


def of_a_worker(request: Request) -> list[str]:
    return late("authority.worker", [request.type], dump_question(request, SECRETS, State()))


@pytest.mark.parametrize("operation", ["issue", "roots"])
def test_worker_est_loads_nothing_late(server: EstServer, operation: str) -> None:
    """From the question to the certificate: PKCS#7 and keys are read by modules that were loaded before."""
    asked = question(server, key_and_csr()[1], tls=trusting(server))
    assert of_a_worker(replace(asked, operation=operation)) == []


@pytest.mark.parametrize("kind", ASKED)
def test_worker_unreachable_ca_loads_nothing_late(kind: str) -> None:
    """Each type of CA: the request is made, the connection is refused, the answer says so."""
    url = f"https://localhost:{closed_port()}/"
    asked = Asker(kind, {"url": url, "directory_url": url} | ASKED[kind], tls=Tls(make_ca().cert.decode())).node()
    assert of_a_worker(asked) == []


def test_worker_ocsp_loads_nothing_late() -> None:
    """A responder's answer is parsed and its signature verified by modules that were loaded before."""
    ca = make_ca()
    leaf = ca.pair()[0]
    cert, issuer = (b64encode(der).decode() for der in links(leaf, ca))
    with responder(sending(reply(answer(ca, leaf)))) as url:
        row = {"id": 0, "cert": cert, "issuer": issuer, "ocsp": [url], "crl": []}
        asked = {"timeout": 20, "every": False, "list": 5, "threads": 1, "environ": {}, "questions": [row]}
        asked |= {"allow_private": True, "configured": []}
        assert late("revocation.child", [], json.dumps(asked).encode()) == []


def test_worker_program_not_reachable_by_its_user_is_named(reachable: Path) -> None:
    """The error says which directory is closed to which user, and not that the CA failed."""
    closed = reachable / "closed"
    closed.mkdir(mode=0o700)
    program = closed / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    asked = Asker("command", {"command": [str(program)]}).node()
    workers = Workers((NOBODY, NOBODY))
    told = workers.ask("certagent.authority.worker", ["command"], dump_question(asked, {}, State()), 60)
    assert f"worker_user nobody cannot read {closed}" in told.decode()
