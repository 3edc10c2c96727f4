"""What the stand-in for cockroach decides, and what the demo says: rows of facts -> answers."""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certagent.demo.loader import Entry, Flags, Found, Material, certificate, load, with_key
from certagent.demo.server import AUTHENTICATION_OK, Offer, Quirks, offer, rpc_answer, sql_answer
from certagent.demo.story import ROTATIONS, Rotated, rotated, withstood
from tests.making import Ca, make_ca

MINE = os.getgid()


@pytest.fixture(scope="module")
def house() -> Ca:
    return make_ca()


def info(mode: int, kind: int = stat.S_IFREG, uid: int = 1000, gid: int = 1000) -> os.stat_result:
    return os.stat_result((kind | mode, 1, 1, 1, uid, gid, 10, 0, 0, 0))


@pytest.mark.parametrize(
    ("stem", "of", "flags", "error"),
    [
        ("node", "node", Flags(), ""),
        ("client.root", "client.root", Flags(), ""),
        ("client.root", "node", Flags(), "client.root.crt: no principal root"),
        ("client.root", "node", Flags({"node": "root"}), ""),
        ("client-tenant.7", "node", Flags(), ""),
    ],
)
def test_whom_a_certificate_names(house: Ca, stem: str, of: str, flags: Flags, error: str) -> None:
    """A client's must name its user, as the principal map has it; the others are taken as they are."""
    cert, _ = house.pair(of)
    entry = certificate(stem, Found(info(0o644), cert), flags)
    assert entry.error == error
    assert (entry.cert, bool(entry.principals)) == ((b"", False) if error else (cert, True))


@pytest.mark.parametrize(
    ("found", "begins"),
    [
        (Found(error=OSError(13, "Permission denied")), "node.crt: [Errno 13] Permission denied"),
        (Found(info(0o644), b""), "node.crt: "),
        (Found(info(0o644, stat.S_IFIFO)), "node.crt: "),
    ],
)
def test_a_certificate_that_cannot_be_had(found: Found, begins: str) -> None:
    """The error is the entry; what is no regular file is never read, and so is no certificate."""
    entry = certificate("node", found, Flags())
    assert entry.error.startswith(begins)
    assert entry == Entry(error=entry.error)


@pytest.mark.parametrize(
    ("found", "flags", "error"),
    [
        (Found(info(0o600), b"KEY"), Flags(), ""),
        (Found(info(0o700), b"KEY"), Flags(), ""),
        (Found(info(0o640), b"KEY"), Flags(), "node.key: mode 0640 is too wide"),
        (Found(info(0o640, uid=0, gid=MINE), b"KEY"), Flags(), ""),
        (Found(info(0o640, uid=0, gid=MINE + 1), b"KEY"), Flags(), "node.key: mode 0640 is too wide"),
        (Found(info(0o644), b"KEY"), Flags(skip=True), ""),
        (Found(info(0o600, stat.S_IFIFO)), Flags(skip=True), "node.key: not a regular file"),
        (Found(error=OSError(2, "No such file or directory")), Flags(), "node.key: No such file or directory"),
        (Found(info(0o644), error=OSError(13, "Permission denied")), Flags(), "node.key: mode 0644 is too wide"),
        (Found(info(0o200), error=OSError(13, "Permission denied")), Flags(), "node.key: Permission denied"),
    ],
)
def test_which_key_is_taken(found: Found, flags: Flags, error: str) -> None:
    """Its kind, then its mode, then whether it can be read; only the key is added to the entry."""
    entry = Entry(b"CERT", b"", ("node",), "CN=node", 7)
    expected = Entry(error=error) if error else replace(entry, key=b"KEY")
    assert with_key(entry, "node.key", found, flags, MINE) == expected


@pytest.mark.parametrize(
    ("environ", "quirks"),
    [
        ({}, Quirks()),
        ({"STANDIN_DEAF": ""}, Quirks()),
        ({"STANDIN_START_AFTER": "/a/file", "STANDIN_MUTE": "1"}, Quirks(start_after="/a/file", mute="1")),
        ({"STANDIN_RELOAD_DELAY": "2", "STANDIN_DEAF": "1"}, Quirks(reload_delay=2.0, deaf=True)),
        ({"STANDIN_IGNORE_HUP": "1", "STANDIN_FAITHFUL": "1"}, Quirks(ignore_hup=True, faithful=True)),
    ],
)
def test_how_a_test_wants_it_to_misbehave(environ: dict[str, str], quirks: Quirks) -> None:
    """Each by its own variable; without one it behaves."""
    assert Quirks.of(environ) == quirks


CA, CLIENTS, NODE, UI = (Entry(name.encode()) for name in ("ca", "ca-client", "node", "ui"))
BAD = Entry(error="bad")


@pytest.mark.parametrize(
    ("entries", "kind", "expected"),
    [
        ({"ca": CA, "node": NODE}, "sql", Offer(NODE, b"ca\n")),
        ({"ca": CA, "node": NODE}, "rpc", Offer(NODE, b"ca\n", ("h2",))),
        ({"ca": CA, "node": NODE}, "http", Offer(NODE)),
        ({"ca": CA, "node": NODE, "ui": UI}, "http", Offer(UI)),
        ({"ca": CA, "node": NODE, "ui": BAD}, "http", Offer(NODE)),
        ({"ca": CA, "node": NODE, "ui": UI}, "sql", Offer(NODE, b"ca\n")),
        ({"ca": CA, "ca-client": CLIENTS, "node": NODE}, "sql", Offer(NODE, b"ca-client\n")),
        ({"ca": CA, "client-tenant.7": UI}, "sql", Offer(UI, b"ca\n")),
        ({"node": NODE}, "sql", None),
        ({"ca": CA, "node": BAD}, "sql", None),
    ],
)
def test_what_a_handshake_uses(entries: dict[str, Entry], kind: str, expected: Offer | None) -> None:
    """The DB Console's own pair where there is a sound one; clients are asked for theirs on the SQL port only."""
    assert offer(Material(entries), kind) == expected


@pytest.mark.parametrize(
    ("names", "answer"),
    [
        (("node",), b"OK"),
        (("other", "root"), b"OK"),
        (("7",), b"OK"),
        (("maxroach",), b"refused: ('maxroach',)"),
        ((), b"refused: no certificate"),
    ],
)
def test_who_may_call_a_node(names: tuple[str, ...], answer: bytes) -> None:
    """Another node, root, a tenant by its id."""
    assert rpc_answer(names) == answer


HELLO = b"\0\0\0\x20\0\x03\0\0user\0root\0\0"


@pytest.mark.parametrize(
    ("message", "names", "begins", "welcome"),
    [
        (HELLO, ("root",), AUTHENTICATION_OK, True),
        (HELLO, None, AUTHENTICATION_OK, True),
        (HELLO, ("maxroach",), b"E", False),
        (HELLO, (), b"E", False),
        (b"start", ("maxroach",), AUTHENTICATION_OK, True),
        (b"", ("root",), b"", True),
    ],
)
def test_who_may_log_in(message: bytes, names: tuple[str, ...] | None, begins: bytes, welcome: bool) -> None:
    """Whom the certificate names; whoever shows none is not judged by it."""
    told, goes_on = sql_answer(message, names)
    assert (told[:1], goes_on) == (begins[:1], welcome)


GOOD = Rotated((0.5,) * ROTATIONS, "a" * 64, "b" * 64, 100, (), "served", (0, 999), "renew node: refused")
LOST = "   a renewal was not verified: renew node: refused"


@pytest.mark.parametrize(
    ("change", "held"),
    [
        (lambda r: r, True),
        (lambda r: replace(r, failures=("reset",)), False),
        (lambda r: replace(r, after=r.before), False),
        (lambda r: replace(r, proof="pending"), False),
        (lambda r: replace(r, took=r.took[1:]), False),
        (lambda r: replace(r, took=()), False),
    ],
)
def test_when_the_rotations_held(change: Callable[[Rotated], Rotated], held: bool) -> None:
    """All of them verified, none of the connections lost, another pair served, and the proof says so."""
    facts = change(GOOD)
    lines, good = rotated(facts)
    assert good is held
    assert (lines == [LOST]) is (len(facts.took) < ROTATIONS)


def test_what_is_said_of_the_rotations() -> None:
    """The slowest, the connections, and who sent the signals."""
    assert rotated(GOOD)[0] == [
        "4. 10 rotations, each verified within 0.50 s of the command: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "   100 new connections in the meantime, 0 failed",
        "5. verified: served; the server received 2 SIGHUPs from uid 999, the owner",
    ]


@pytest.mark.parametrize(("code", "same", "held"), [(1, True, True), (0, True, False), (1, False, False)])
def test_when_a_wrong_answer_did_no_harm(code: int, same: bool, held: bool) -> None:
    """The renewal was refused, and the old pair is still served."""
    lines, good = withstood(code, "refused", same=same)
    assert good is held
    assert lines[1] == f"   the old pair {'is still' if same else 'IS NO LONGER'} served"


def test_a_fifo_is_loaded_as_no_certificate(tmp_path: Path, house: Ca) -> None:
    """The loader does not wait for whoever might write into it."""
    (tmp_path / "ca.crt").write_bytes(house.cert)
    os.mkfifo(tmp_path / "node.crt")
    loaded = load(str(tmp_path))
    assert loaded.good("ca") is not None
    assert loaded.entries["node"].error.startswith("node.crt: ")
