"""Looks at a member that runs: each pair of this host that may be offered, and what the member's chain leads to."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.agent.jobs.looking import Looking
from certagent.certs_dir.swap import Store
from certagent.core.actions import LookAt
from certagent.core.facts import Look
from certagent.demo.launch import StandIn
from certagent.keys import Key
from tests.making import Ca, filled, make_ca, put
from tests.system.test_key_memory import found

REFUSED = 'alert "unknown CA": its trust bundle does not verify this certificate'
APART = """
import sys
from certagent.agent.jobs.looking import Looking
from certagent.certs_dir.swap import Store
from certagent.core.actions import LookAt
from certagent.keys import KEEPER
KEEPER.apart()
path, address, fingerprint = sys.argv[1:]
action = LookAt(address=address, offers="node", staged=True, fingerprint=fingerprint, reason="")
print(Looking(path, Store(path), 60.0).look(action).outcome, flush=True)
sys.stdin.read()
"""


@contextmanager
def member(base: Path, ca: Ca) -> Iterator[tuple[str, str]]:
    """Another node, whose bundle has that CA: its address, and the fingerprint of its leaf."""
    certs, place = base / "other", base / "place"
    for directory in (certs, place):
        directory.mkdir(mode=0o700)
    (certs / "ca.crt").write_bytes(ca.cert)
    put(certs, "node", ca.pair())
    with StandIn(str(certs), str(place)) as server:
        yield f"127.0.0.1:{server.ports['sql']}", fingerprint((certs / "node.crt").read_bytes())


def fingerprint(pem: bytes) -> str:
    """Of the leaf."""
    return x509.parse_certificates(pem)[0].fingerprint


def spki(ca: Ca) -> str:
    """By which a CA is known."""
    return x509.parse_certificates(ca.cert)[0].spki


def look(certs: Path, address: str, cert: bytes, console: int = 0, **changes: Any) -> Look | None:
    """A look at which that pair is meant."""
    given = {"offers": "node", "staged": False, "fingerprint": fingerprint(cert)} | changes
    return Looking(str(certs), Store(str(certs)), 60.0).look(LookAt(address=address, reason="a test", **given), console)


def test_look_offers_the_pair_that_is_meant(tmp_path: Path) -> None:
    """The live one, the staged one, with a key of its own or for the live key, an earlier one; never another one."""
    certs = tmp_path / "certs"
    ca, new, other = filled(certs), make_ca("a new root"), make_ca("another root")
    live, store = (certs / "node.crt").read_bytes(), Store(str(certs))
    with member(tmp_path, ca) as (address, serves):
        seen = look(certs, address, live)
        assert seen is not None
        assert (seen.outcome, seen.reason, seen.stem, seen.offered) == ("accepted", "", "node", fingerprint(live))
        assert (seen.address, seen.served, seen.anchors) == (address, serves, (spki(ca),))
        cert, key = new.pair()
        store.stage("node", cert, Key.of(key))
        store.stage("ca", new.cert + other.cert, None)
        staged = look(certs, address, cert, staged=True)
        assert staged is not None
        assert (staged.outcome, staged.reason, staged.served) == ("refused", REFUSED, serves)
        assert staged.anchors == (spki(ca),)
        assert look(certs, address, live, staged=True) is None
        assert look(certs, address, cert) is None
        assert look(certs, address, live, offers="client.node") is None
        store.discard("node", "a test")
        store.stage("node", live, None)
        again = look(certs, address, live, staged=True)
        assert again is not None
        assert again.outcome == "accepted"


def test_look_offers_an_earlier_pair(tmp_path: Path) -> None:
    """Before it comes back, everybody has to accept it."""
    certs = tmp_path / "certs"
    ca = filled(certs)
    before, store = (certs / "node.crt").read_bytes(), Store(str(certs))
    cert, key = ca.pair()
    store.stage("node", cert, Key.of(key))
    staged = store.staged()[0]
    assert staged.key is not None
    store.install("node", (_digest(staged.cert), _digest(key)), 0o600, (None, None))
    with member(tmp_path, make_ca("another root")) as (address, _):
        seen = look(certs, address, before, generation=1)
        assert seen is not None
        assert (seen.outcome, seen.reason, seen.anchors) == ("refused", REFUSED, ())
        assert look(certs, address, cert, generation=1) is None
        assert look(certs, address, before, generation=2) is None


def _digest(data: bytes) -> str:
    """As the swap compares it."""
    return sha256(data).hexdigest()


def test_look_leads_to_staged_roots_as_well(tmp_path: Path) -> None:
    """A member that serves the new root already, while the bundle that has it is still staged here."""
    certs, new = tmp_path / "certs", make_ca("a new root")
    filled(certs)
    Store(str(certs)).stage("ca", new.cert, None)
    with member(tmp_path, new) as (address, _):
        seen = look(certs, address, (certs / "node.crt").read_bytes())
    assert seen is not None
    assert (seen.outcome, seen.anchors) == ("refused", (spki(new),))


def test_look_reads_when_the_first_ca_of_a_member_ends(tmp_path: Path) -> None:
    """Where clients are verified by a bundle of their own, and only there; a port that nobody serves tells nothing."""
    certs, other, place = (tmp_path / name for name in ("certs", "other", "place"))
    ca, first = filled(certs), make_ca("the first of ca.crt", 99)
    live, ends = (certs / "node.crt").read_bytes(), x509.parse_certificates(first.cert)[0].not_after
    for directory in (other, place):
        directory.mkdir(mode=0o700)
    (other / "ca.crt").write_bytes(first.cert + ca.cert)
    (other / "ca-client.crt").write_bytes(ca.cert)
    put(other, "node", ca.pair())
    with StandIn(str(other), str(place)) as server, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody else can listen there
        address, console = f"127.0.0.1:{server.ports['sql']}", server.ports["http"]
        seen = [look(certs, address, live, console)]
        (certs / "ca-client.crt").write_bytes(ca.cert)
        seen += [look(certs, address, live, port) for port in (console, 0, taken.getsockname()[1])]
    assert [(k.outcome, k.ca_ends) for k in seen if k] == [
        ("accepted", 0),
        ("accepted", int(ends.timestamp())),
        ("accepted", 0),
        ("accepted", 0),
    ]


@pytest.mark.root
@pytest.mark.slow
def test_look_leaves_no_key_in_the_process_that_takes_it(tmp_path: Path) -> None:
    """The staged key is offered by a child: no byte of it is in the memory of the daemon's side."""
    certs = tmp_path / "certs"
    ca = filled(certs)
    cert, key = ca.pair()
    Store(str(certs)).stage("node", cert, Key.of(key))
    with member(tmp_path, ca) as (address, _):
        words = [sys.executable, "-c", APART, str(certs), address, fingerprint(cert)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as looking:
            assert looking.stdout is not None
            assert looking.stdout.readline() == "accepted\n"
            assert found(looking.pid, {"staged": key, "live": (certs / "node.key").read_bytes()}) == set()
            looking.kill()
