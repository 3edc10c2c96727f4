"""A host that joins in the middle of a rotation of the CA, and a CA that changes: no connection fails."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certagent.demo.launch import StandIn
from certagent.demo.stream import Stream
from certagent.x509 import parse_certificates
from tests.making import Ca, cross_signed, make_ca
from tests.servers.stepca import intermediate
from tests.system.running import Host, open_tmp
from tests.system.test_command import EXAMPLES, ca_dir, program, table
from tests.system.test_none import pair, put, replace, served
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
OLD = "old root"
SOON = timedelta(seconds=20)


@pytest.fixture
def shared() -> Iterator[Host]:
    """A host whose directories the worker's user may enter."""
    made = Host(open_tmp())
    made.make_certs()
    yield made
    shutil.rmtree(made.base)


class Rotation:
    """A CA of a new root that answers, and the old root, whose certificates others still have."""

    def __init__(self, host: Host) -> None:
        self.host, self.place = host, ca_dir(host)
        self.old, self.at = make_ca(OLD), datetime.now(UTC)
        self.new = Ca((self.place / "ca.crt").read_bytes(), (self.place / "ca.key").read_bytes(), self.at)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> Path:
        """One that a setting or a client names."""
        path = self.host.base / name
        path.write_bytes(data)
        path.chmod(mode)
        return path

    def configure(self, roots: bytes, after: bytes = b"", **options: str) -> None:
        """`roots`: of issuing_roots; `after`: certificates that follow the leaf in each answer."""
        (self.place / "chain.pem").write_bytes(after)  # a program may read its own directory and no other
        sign = (EXAMPLES / "command-openssl-ca.sh").read_text()
        script = program(self.host, "answer.sh", f'{sign}\ncat "$CA_DIR/chain.pem"')
        environment = f"environment = {{ CA_DIR = '{self.place}' }}\nwritable = ['{self.place}']"
        pinned = f"issuing_roots = '{self.file('issuing.pem', roots)}'"
        self.host.write(house=table(script, environment, pinned), authority='"pki"', **options)

    def client(self, name: str, ca: Ca) -> tuple[str, str]:
        """The files of a client pair of that CA."""
        cert, key = pair(ca, "client.root")
        return str(self.file(f"{name}.crt", cert)), str(self.file(f"{name}.key", key, 0o600))

    def stream(self, stack: ExitStack, server: StandIn, roots: bytes, client: tuple[str, str]) -> Stream:
        """New verified connections until the end of the test."""
        path = self.file(f"roots-{len(roots)}-{time.monotonic_ns()}.pem", roots)
        made = Stream(server, str(path), client)
        stack.callback(made.stop)
        return made


def nothing_failed(*streams: Stream) -> None:
    """Every one connected at least twenty more times from now on, and none ever failed."""
    counts = [s.connections for s in streams]
    wait_until(lambda: all(s.connections > n + 20 for s, n in zip(streams, counts, strict=True)), "they connect")
    assert [s.failures for s in streams] == [[] for _ in streams]


def test_host_that_joins_mid_rotation_reaches_peers(shared: Host) -> None:
    """Its first bundle holds both roots: it verifies peers of the old one, and they verify its new certificate."""
    made, peers = Rotation(shared), shared.base / "peer-certs"
    both = made.new.cert + made.old.cert
    peers.mkdir(mode=0o700)
    put(peers, "ca.crt", both)
    replace(peers, "node", pair(made.old))
    made.configure(both)
    done = shared.once()
    assert done.returncode == 0, done.stdout
    assert len(parse_certificates((shared.certs / "ca.crt").read_bytes())) == 2
    ours = (str(shared.certs / "client.root.crt"), str(shared.certs / "client.root.key"))
    with ExitStack() as stack:
        peer, own = (
            stack.enter_context(shared.server(n, certs=c)) for n, c in (("peer", peers), ("own", shared.certs))
        )
        stack.enter_context(shared.agent())
        served(shared, own)
        outward = made.stream(stack, peer, (shared.certs / "ca.crt").read_bytes(), ours)
        inward = made.stream(stack, own, both, made.client("peer", made.old))
        nothing_failed(outward, inward)
        assert shared.run("renew", "node").returncode == 0
        nothing_failed(outward, inward)


def below_the_old_root(made: Rotation) -> tuple[bytes, bytes, bytes]:
    """Pinned, after the leaf, and in the bundle: the new root is pinned, and its cross-signature comes along."""
    return made.new.cert, cross_signed(made.new.cert, made.old), made.new.cert + made.old.cert


def below_a_root_of_its_own(made: Rotation) -> tuple[bytes, bytes, bytes]:
    """The CA that answers is an intermediate below a third root, which is pinned; it comes along."""
    top = make_ca("new top root")
    cert = cross_signed(made.new.cert, top)
    return top.cert, cert, top.cert + made.old.cert


@pytest.mark.parametrize("answered", [below_the_old_root, below_a_root_of_its_own], ids=lambda way: way.__name__)
def test_answer_of_new_root_with_chain_fails_no_connection(
    shared: Host, answered: Callable[[Rotation], tuple[bytes, bytes, bytes]]
) -> None:
    """`issuing_roots` names the new root alone: the answer is taken; who knows only what verifies the chain goes on."""
    made = Rotation(shared)
    pinned, after, bundle = answered(made)
    put(shared.certs, "ca.crt", bundle)
    for stem in ("node", "client.root"):
        replace(shared.certs, stem, pair(made.old, stem))
    made.configure(pinned, after)
    known = made.old.cert if answered is below_the_old_root else bundle
    with ExitStack() as stack:
        server = stack.enter_context(shared.server())
        agent = stack.enter_context(shared.agent())
        served(shared, server)
        stream = made.stream(stack, server, known, made.client("c", made.old))
        done = shared.run("renew", "node")
        assert done.returncode == 0, done.stdout + done.stderr
        agent.wait_event("reload.proven")
        assert len(parse_certificates((shared.certs / "node.crt").read_bytes())) == 2
        fresh = made.stream(stack, server, pinned, made.client("d", made.old))
        nothing_failed(stream, fresh)
        assert len(stream.fingerprints) == 2


def test_intermediate_that_ends_first_is_replaced_in_time(shared: Host) -> None:
    """The leaf is valid for a month, its intermediate for seconds: both are replaced before that end, and after it."""
    made = Rotation(shared)
    put(shared.certs, "ca.crt", made.new.cert + made.old.cert)
    made.configure(made.new.cert)
    middle, key = intermediate(made.old.cert, made.old.key, lifetime=SOON)
    end = parse_certificates(middle)[0].not_after
    leaf, own = pair(Ca(middle, key, made.at))
    replace(shared.certs, "node", (leaf + middle, own))
    replace(shared.certs, "client.root", pair(made.old, "client.root"))
    with ExitStack() as stack:
        server = stack.enter_context(shared.server())
        stream = made.stream(stack, server, made.new.cert + made.old.cert, made.client("c", made.old))
        agent = stack.enter_context(shared.agent())
        agent.wait_event("pair.installed", lambda e: e["file"] == "node")
        agent.wait_event("reload.proven")
        assert datetime.now(UTC) < end, "a machine that is too slow for this test"
        wait_until(lambda: datetime.now(UTC) > end + timedelta(seconds=1), "the old chain has expired")
        nothing_failed(stream)
