"""Operations with private keys, in this process and in a confined child: the same results, and what the child has."""

import json
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certagent import keys, x509
from certagent.core.facts import File
from certagent.keys import Keeper, Key
from certagent.keys.asking import CHILD
from certagent.keys.key import LIMIT
from certagent.keys.operations import OPERATIONS, bytes_of, text_of
from certagent.posix.errors import HostError, IrregularFileError
from certagent.sandbox.nursery import Nursery
from tests.making import Ca, inside, keyed, make_ca
from tests.moments import now
from tests.waiting import wait_until

FILE = File("node.key", "file", 0o600, 0, 0, 1, 0, 0, 0, 0)
SUBJECT = {"common_name": "node", "names": ["localhost"], "unit": "", "challenge": ""}


@pytest.fixture(scope="module")
def apart() -> Iterator[Keeper]:
    """One that has children carry out everything."""
    made = Keeper()
    made.apart()
    yield made
    made.end()


def pems(cert: bytes) -> list[bytes]:
    """The certificates of a file, as a server sends them."""
    return [ssl.PEM_cert_to_DER_cert(pem.decode()) for _, pem in x509.split_certificates(cert)]


def asked(keeper: Keeper, name: str, given: dict[str, Any], *of: Key) -> Any:
    """The result of an operation, or what it raises."""
    try:
        return keeper.ask(name, given, [key.fileno() for key in of])
    except (x509.X509Error, ValueError) as error:
        return type(error).__name__, str(error)


def questions(ca: Ca) -> dict[str, tuple[dict[str, Any], tuple[Key, ...]]]:
    """One question to each operation whose answer is always the same."""
    cert, key = keyed(ca.pair())
    roots = {"server_roots": text_of(ca.cert), "client_roots": None}
    served = [text_of(der) for der in pems(cert)]
    return {
        "examine": ({}, (key,)),
        "led": ({"served": served, "bundle": text_of(ca.cert), "at": now().isoformat()}, ()),
        "handshake": ({"certs": text_of(cert), **roots}, (key,)),
        "pair": ({"certs": text_of(cert)}, (key, Key())),
    }


def test_keys_child_gives_the_results_of_this_process(apart: Keeper) -> None:
    """Whether a child or the process itself examines a key, offers it or writes it beside its certificate."""
    for name, (given, of) in questions(make_ca()).items():
        assert asked(apart, name, given, *of) == asked(Keeper(), name, given, *of), name


@pytest.mark.parametrize(
    "data", [b"", b"rubbish", b"\xff\x00\n", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_keys_child_refuses_what_this_process_refuses(apart: Keeper, data: bytes) -> None:
    """A key that does not parse is the same problem in both, for each operation that takes one."""
    key = Key.of(data)
    for name, given in (("examine", {}), ("request", SUBJECT), ("proof", {"header": {}, "claims": {}})):
        assert asked(apart, name, given, key) == asked(Keeper(), name, given, key), name


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ed25519", "rsa-2048"])
def test_keys_child_makes_key_request_and_leaf(apart: Keeper, kind: str) -> None:
    """A new key and its request, signed by a CA that a child made too: the leaf is of the key, and builds to the CA."""
    ca_key, key, at = Key(), Key(), now()
    given = {"common_name": "a CA", "lifetime": 86400.0, "now": at.isoformat(), "key": "ecdsa-p256"}
    ca = bytes_of(apart.ask("ca", given, [ca_key.fileno()])) or b""
    csr = apart.ask("draft", {"key": kind, **SUBJECT}, [key.fileno()])
    terms = {"server": True, "client": True, "urls": ["", ""], "ca_cert": text_of(ca), "csr": csr}
    dates = {"not_before": at.isoformat(), "not_after": (at + timedelta(hours=1)).isoformat()}
    leaf = bytes_of(apart.ask("sign", terms | dates, [ca_key.fileno()])) or b""
    assert keys.matched(leaf, key)
    assert x509.parse_key(inside(key) or b"")[1] == kind
    assert x509.verify_chain(leaf, ca, "server", at + timedelta(minutes=1)) is None


def test_keys_every_operation_is_tested() -> None:
    """The questions above name each of them."""
    assert {*questions(make_ca()), "request", "proof", "ca", "draft", "sign"} == {*OPERATIONS}


class Full(Nursery):
    """A machine that can start no further process."""

    def _start(self) -> None:
        raise BlockingIOError


def statuses(keeper: Keeper) -> list[dict[str, str]]:
    """What the kernel says of each child of a keeper."""
    parent = str(keeper._nursery.pid)
    pids = subprocess.run(["pgrep", "-P", parent], capture_output=True, text=True, check=False)
    found = []
    for pid in pids.stdout.split():
        with suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8") as file:
            row = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            found.append(row | {"core": Path(f"/proc/{pid}/limits").read_text(encoding="utf-8")})
    return found


def test_keys_child_is_confined(apart: Keeper) -> None:
    """It has a filter of system calls, no new rights, no capability and no core file."""
    asked(apart, "examine", {}, Key.of(b"x"))
    [row] = [row for row in statuses(apart) if row["Seccomp"] == "2"][:1]
    assert (row["NoNewPrivs"], row["CapEff"]) == ("1", "0" * 16)
    [core] = [line.split() for line in row["core"].splitlines() if line.startswith("Max core")]
    assert core[4:6] == ["0", "0"]


def test_keys_child_may_do_nothing_but_answer(tmp_path: Path) -> None:
    """No socket of any kind, no file, no program, no process and no signal."""
    (tmp_path / "node.key").write_bytes(b"x")
    nursery = Nursery("tests.keys.trying")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(60)
        nursery.send({"path": str(tmp_path / "node.key")}, [theirs.fileno()], 60)
        assert json.loads(ours.recv(1 << 16)) == []
    nursery.end()


def test_keys_child_that_was_killed_is_replaced(apart: Keeper) -> None:
    """One that ended while it waited costs nothing: the next question goes to another one."""
    key = Key.of(make_ca().key)
    before = asked(apart, "examine", {}, key)
    for row in statuses(apart):
        with suppress(ProcessLookupError):
            os.kill(int(row["Pid"]), signal.SIGKILL)
    assert asked(apart, "examine", {}, key) == before


def test_keys_of_a_ca_are_not_where_files_are_parsed(apart: Keeper) -> None:
    """The child that examines the keys of a directory is another one than the child that signs.

    On a slow machine one may just be replaced, because it had nothing to do for a second.
    """
    key = Key.of(make_ca().key)

    def two() -> bool:
        for _ in range(2):
            apart.ask("examine", {}, [key.fileno()])
            apart.ask("request", SUBJECT, [key.fileno()])
        return len([row for row in statuses(apart) if row["State"][0] != "Z"]) == 2

    wait_until(two, "each kind of request has a child of its own")


def test_keys_are_never_where_the_bytes_of_strangers_are_parsed() -> None:
    """What a member of the cluster served is read by a child of its own, which gets no key before or afterwards."""
    keeper, key = Keeper(), Key.of(make_ca().key)
    keeper.apart()
    try:

        def three() -> bool:
            for _ in range(2):
                keeper.ask("examine", {}, [key.fileno()])
                keeper.ask("request", SUBJECT, [key.fileno()])
                keeper.ask("led", questions(make_ca())["led"][0], [])
            return {name: len(waiting) for name, waiting in keeper._idle.items()} == {"examine": 1, "": 1, "led": 1}

        wait_until(three, "each kind of request has a child of its own")
    finally:
        keeper.end()


def test_bytes_of_strangers_are_not_parsed_here_for_want_of_a_process() -> None:
    """A key is worth more than its guard; what somebody sent is not."""
    keeper = Keeper(Full(CHILD))
    keeper.apart()
    with pytest.raises(HostError, match="no process can be started"):
        keeper.ask("led", questions(make_ca())["led"][0], [])


def test_keys_unused_process_ends_and_starts_again() -> None:
    """A minute after the last request no process is left; the next one starts another."""
    keeper, key = Keeper(), Key.of(make_ca().key)
    keeper.apart()
    try:
        before = asked(keeper, "examine", {}, key)
        keeper.rest(time.monotonic())
        assert keeper._nursery.pid is not None
        keeper.rest(time.monotonic() + 61)
        assert keeper._nursery.pid is None
        assert asked(keeper, "examine", {}, key) == before
    finally:
        keeper.end()


def test_keys_without_a_process_are_used_here() -> None:
    """A machine that can start no further process keeps its certificates."""
    keeper = Keeper(Full(CHILD))
    keeper.apart()
    ca = make_ca()
    assert asked(keeper, "examine", {}, Key.of(ca.key))["spki"] == x509.parse_certificates(ca.cert)[0].spki


def test_keys_child_that_ends_in_the_middle_is_an_error() -> None:
    """The key is not called bad, and is not used here: `tests.keys.dying` ends whenever it is asked something."""
    keeper = Keeper(Nursery("tests.keys.dying"))
    keeper.apart()
    try:
        with pytest.raises(HostError, match="the process that does it ended"):
            keeper.ask("examine", {}, [Key.of(b"x").fileno()])
    finally:
        keeper.end()


def test_keys_fact_of_a_file() -> None:
    """A good key, one that is none: digests and a problem, as x509 says them of the bytes."""
    for data in (make_ca().key, b"rubbish"):
        assert keys.key_file(FILE, Key.of(data)) == x509.key_file(FILE, data)


def test_key_is_what_the_file_was(tmp_path: Path) -> None:
    """What is written later does not change it; a descriptor ends with its value."""
    path = tmp_path / "node.key"
    path.write_bytes(b"first")
    before = len(os.listdir("/proc/self/fd"))
    key = Key.read(os.open(path, os.O_RDONLY))
    path.write_bytes(b"other")
    with open(tmp_path / "copy", "wb") as copy:
        key.write(copy.fileno())
    assert ((tmp_path / "copy").read_bytes(), inside(key), len(key)) == (b"first", b"first", 5)
    del key
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_key_file_has_a_limit(tmp_path: Path, size: int) -> None:
    """One mebibyte is read; more than that, or a device, is refused."""
    path = tmp_path / "node.key"
    path.write_bytes(b"x" * size)
    if size <= LIMIT:
        assert len(Key.read(os.open(path, os.O_RDONLY))) == size
        return
    for place in (path, Path("/dev/zero")):
        with pytest.raises(IrregularFileError):
            Key.read(os.open(place, os.O_RDONLY))
