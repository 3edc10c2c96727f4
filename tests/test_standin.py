"""What the stand-in for cockroach decides, and what the demo says: rows of facts -> answers."""

import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from certagent.demo.launch import further
from certagent.demo.loader import (
    Entry,
    Flags,
    Found,
    LoadError,
    Material,
    certificate,
    load,
    reload_problem,
    start_problem,
    with_key,
)
from certagent.demo.logins import Shown, shown_by
from certagent.demo.offering import Offer, offer, tls_problem
from certagent.demo.server import AUTHENTICATION_OK, Quirks, live_nodes, metrics_page, rpc_answer, sql_answer
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
        ("client.root", "node", Flags(), ""),
        ("client.root", "node", Flags(old=True), "client.root.crt: no principal root"),
        ("client.root", "node", Flags({"node": "root"}, old=True), ""),
        ("client-tenant.7", "node", Flags(), ""),
    ],
)
def test_standin_principals_of_certificate(house: Ca, stem: str, of: str, flags: Flags, error: str) -> None:
    """Up to 24.1 a client's must name its user, after the principal map; the others are accepted as they are."""
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
def test_standin_certificate_unreadable(found: Found, begins: str) -> None:
    """The error is the entry; a file that is not regular is never read, and neither is its certificate."""
    entry = certificate("node", found, Flags())
    assert entry.error.startswith(begins)
    assert entry == Entry(error=entry.error)


@pytest.mark.parametrize(
    ("found", "flags", "error"),
    [
        (Found(info(0o600), b"KEY"), Flags(), ""),
        (Found(info(0o7600), b"KEY"), Flags(), ""),
        (Found(info(0o1740, uid=0, gid=MINE), b"KEY"), Flags(), ""),
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
def test_standin_key_checks_in_order(found: Found, flags: Flags, error: str) -> None:
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
def test_standin_misbehaves_by_variable(environ: dict[str, str], quirks: Quirks) -> None:
    """Each by its own variable; without one it behaves."""
    assert Quirks.of(environ) == quirks


CA, CLIENTS, NODE, UI = (Entry(name.encode()) for name in ("ca", "ca-client", "node", "ui"))
BAD = Entry(error="bad")


@pytest.mark.parametrize(
    ("entries", "kind", "expected"),
    [
        ({"ca": CA, "node": NODE}, "sql", Offer(NODE, (b"ca",))),
        ({"ca": CA, "node": NODE}, "rpc", Offer(NODE, (b"ca",), ("h2",))),
        ({"ca": CA, "node": NODE}, "http", Offer(NODE)),
        ({"ca": CA, "node": NODE, "ui": UI}, "http", Offer(UI)),
        ({"ca": CA, "node": NODE, "ui": BAD}, "http", None),
        ({"ca": CA, "node": NODE, "ui": UI}, "sql", Offer(NODE, (b"ca",))),
        ({"ca": CA, "ca-client": CLIENTS, "node": NODE}, "sql", Offer(NODE, (b"ca-client",))),
        ({"ca": CA, "ca-client": BAD, "node": NODE}, "sql", None),
        ({"ca": CA, "ca-client-tenant": CLIENTS, "node": NODE}, "rpc", Offer(NODE, (b"ca", b"ca-client"), ("h2",))),
        ({"ca": CA, "ca-client-tenant": BAD, "node": NODE}, "rpc", None),
        ({"ca": CA, "client-tenant.7": UI}, "sql", None),
        ({"node": NODE}, "sql", None),
        ({"ca": CA, "node": BAD}, "sql", None),
    ],
)
def test_standin_files_of_handshake(entries: dict[str, Entry], kind: str, expected: Offer | None) -> None:
    """The DB Console's own pair where there is one; clients are asked for theirs on the SQL port only.

    A file that is there and broken stops what uses it: cockroach does not fall back.
    """
    assert offer(Material(entries), kind) == expected


def of(*users: str, tenant: str = "") -> Shown:
    return Shown(tuple((tenant, user) for user in users))


@pytest.mark.parametrize(
    ("who", "flags", "let_in"),
    [
        (of("node"), Flags(), True),
        (of("other", "root"), Flags(), True),
        (of("root", tenant="1"), Flags(), True),
        (of("root", tenant="10"), Flags(), False),
        (Shown(tenant="7"), Flags(), True),
        (Shown(tenant="root"), Flags(), False),
        (of("7"), Flags(), False),
        (of("maxroach"), Flags(), False),
        (Shown((("", "node"),), refused="malformed"), Flags(), False),
        (of("node"), Flags(node_dn="CN=node"), False),
        (Shown(subject="O=x,CN=a"), Flags(node_dn="O=x,CN=a"), True),
        (None, Flags(), False),
    ],
)
def test_standin_node_callers(who: Shown | None, flags: Flags, let_in: bool) -> None:
    """Another node, root, each of the system tenant; a tenant by its id; with a flag, that very subject."""
    assert (rpc_answer(who, flags) == b"OK") == let_in


HELLO = b"\0\0\0\x20\0\x03\0\0user\0root\0\0"


@pytest.mark.parametrize(
    ("message", "who", "begins", "welcome"),
    [
        (HELLO, of("root"), AUTHENTICATION_OK, True),
        (HELLO, None, AUTHENTICATION_OK, True),
        (HELLO, of("root", tenant="1"), AUTHENTICATION_OK, True),
        (HELLO, of("root", tenant="10"), b"E", False),
        (HELLO, of("maxroach"), b"E", False),
        (HELLO, Shown(tenant="7"), b"E", False),
        (HELLO, of(), b"E", False),
        (HELLO.replace(b"root", b"debug_user"), of("debug_user"), b"E", False),
        (b"start", of("maxroach"), AUTHENTICATION_OK, True),
        (b"", of("root"), b"", True),
    ],
)
def test_standin_login_by_certificate(message: bytes, who: Shown | None, begins: bytes, welcome: bool) -> None:
    """The users that the certificate names; a client without one is not judged by it."""
    told, goes_on = sql_answer(message, who, Flags())
    assert (told[:1], goes_on) == (begins[:1], welcome)


@pytest.mark.parametrize(
    ("user", "uris", "flags", "expected"),
    [
        ("root", (), Flags(), ("", "root")),
        ("root", (), Flags({"root": "app"}), ("", "app")),
        ("x", ("crdb://tenant/1/user/app",), Flags({"app": "root"}), ("1", "app")),
        ("x", ("crdb://tenant-name/t/user/app",), Flags(), ("t", "app")),
        ("x", ("crdb://x",), Flags(), None),
        ("root", (), Flags(root_login=False), None),
    ],
)
def test_standin_users_of_certificate(
    house: Ca, user: str, uris: tuple[str, ...], flags: Flags, expected: tuple[str, str] | None
) -> None:
    """The users of its `crdb://` URIs, to which no map applies; else its principals."""
    cert, _ = house.pair(f"client.{user}", uris=uris)
    who = shown_by(cert, flags)
    assert bool(who.refused) == (expected is None)
    assert expected is None or who.users == (expected,)


def held(**entries: Entry) -> Material:
    return Material({stem.replace("__", "-").replace("_", "."): entry for stem, entry in entries.items()})


RELOADS = [
    (held(ca=CA, node=NODE), held(ca=CA, node=BAD), False),
    (held(ca=CA, node=NODE, ui=UI), held(ca=CA, node=NODE), False),
    (held(ca=CA, node=NODE), held(ca=CA, node=NODE, ui=BAD), True),
    (held(ca=CA, node=NODE), held(ca=CA, node=NODE, ca__client=BAD), True),
    (held(ca=CA, node=NODE), held(ca=CA, node=NODE, client_node=BAD), True),
    (Material({"ca": CA, "node": NODE, "tenant-signing.7": UI}), held(ca=CA, node=NODE), True),
    (Material({"ca": CA, "node": NODE, "client-tenant.7": UI}), held(ca=CA, node=NODE), True),
    (Material({"ca": CA, "client-tenant.7": UI}, Flags(sql_server=True)), held(ca=CA), False),
]


@pytest.mark.parametrize(("old", "fresh", "taken"), RELOADS)
def test_standin_reload_accepted_or_refused(old: Material, fresh: Material, taken: bool) -> None:
    """Only one that loses a file in use is refused; an optional file that is new and broken is accepted."""
    assert (reload_problem(old, fresh) == "") == taken


def test_standin_tenant_server_serves_its_own_pair() -> None:
    """`mt start-sql` without a node.crt; any other process does not start without one."""
    entries = {"ca": CA, "client-tenant.7": UI}
    assert offer(Material(entries, Flags(sql_server=True)), "sql") == Offer(UI, (b"ca",))
    assert start_problem(Material(entries, Flags(sql_server=True))) == ""
    assert start_problem(Material(entries)) == "node.crt is missing"


@pytest.mark.parametrize("stem", ["ui", "ca-client", "ca-client-tenant", "client.node", "ca", "node"])
def test_standin_start_with_broken_file_fails(stem: str) -> None:
    """At its start a node has no fallback; ca-ui.crt is not read."""
    sound = {"ca": CA, "node": NODE, "ca-ui": BAD}
    assert start_problem(Material(sound)) == ""
    assert start_problem(Material(sound | {stem: BAD})) == "bad"


def test_standin_start_tls_configurations(house: Ca) -> None:
    """Three configurations are built: a key that does not match, or a bundle without a certificate, ends the start."""

    def entry(stem: str, key: bytes = b"") -> Entry:
        cert, own = house.pair(stem)
        return Entry(cert, key or own)

    other = house.pair("node")[1]
    headed = house.cert.replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\nComment: house\n\n", 1)
    sound = {"ca": Entry(house.cert), "node": entry("node")}
    assert tls_problem(Material(sound)) == ""
    assert tls_problem(Material(sound | {"ui": entry("ui", other)})).startswith("console: ")
    assert tls_problem(Material(sound | {"node": entry("node", other)})).startswith("server: ")
    assert tls_problem(Material(sound | {"client.node": entry("client.node", other)})).startswith("client: ")
    assert tls_problem(Material(sound | {"ca-client": Entry(headed)})).startswith("server: ")
    assert tls_problem(Material(sound | {"ca": Entry(headed), "ca-client": Entry(house.cert)})).startswith("client: ")
    assert tls_problem(Material(sound | {"ca-ui": Entry(headed)})) == ""


@pytest.mark.parametrize(("tenant", "loads"), [("7", True), ("007", True), (str(2**64 - 1), True), (str(2**64), False),
    ("foo", False), ("-1", False), ("7.8", False), ("٧", False)])  # fmt: skip  # noqa: RUF001 - a digit of another script
def test_standin_tenant_id(tmp_path: Path, house: Ca, tenant: str, loads: bool) -> None:
    """It refuses the directory as a whole, with or without a key, whatever is in the file."""
    (tmp_path / "ca.crt").write_bytes(house.cert)
    (tmp_path / f"client-tenant.{tenant}.crt").write_text("garbage")
    if loads:
        assert load(str(tmp_path)).good("ca")
        return
    with pytest.raises(LoadError):
        load(str(tmp_path))


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
def test_demo_rotations_succeeded(change: Callable[[Rotated], Rotated], held: bool) -> None:
    """All of them verified, no connection lost, another pair served, and the evidence says so."""
    facts = change(GOOD)
    lines, good = rotated(facts)
    assert good is held
    assert (lines == [LOST]) is (len(facts.took) < ROTATIONS)


def test_demo_rotations_summary() -> None:
    """The slowest, the connections, and the sender of the signals."""
    assert rotated(GOOD)[0] == [
        "4. 10 rotations, each verified within 0.50 s of the command: aaaaaaaaaaaa -> bbbbbbbbbbbb",
        "   100 new connections in the meantime, 0 failed",
        "5. verified: served; the server received 2 SIGHUPs from uid 999, the owner",
    ]


@pytest.mark.parametrize(("code", "same", "held"), [(1, True, True), (0, True, False), (1, False, False)])
def test_demo_wrong_answer_is_refused(code: int, same: bool, held: bool) -> None:
    """The renewal was refused, and the old pair is still served."""
    lines, good = withstood(code, "refused", same=same)
    assert good is held
    assert lines[1] == f"   the old pair {'is still' if same else 'IS NO LONGER'} served"


def test_standin_fifo_is_no_certificate(tmp_path: Path, house: Ca) -> None:
    """The loader does not wait for a writer."""
    (tmp_path / "ca.crt").write_bytes(house.cert)
    os.mkfifo(tmp_path / "node.crt")
    loaded = load(str(tmp_path))
    assert loaded.good("ca") is not None
    assert loaded.entries["node"].error.startswith("node.crt: ")


def test_standin_metrics_name_what_is_loaded() -> None:
    """A line for each valid file, for each that a reload changed, and for the version where it is told."""
    loaded = Material({"node": Entry(b"x", b"y", not_after=7), "ui": Entry(error="ui.crt: broken")})
    ends, live = 'security_certificate_expiration_node{node_id="1"} 7\n', 'liveness_livenodes{node_id="1"} 1\n'
    assert ends + live == metrics_page(loaded, {}, "")
    assert metrics_page(loaded, {"client.node": 5}, "24.1", "3").splitlines()[1:] == [
        'security_certificate_last_rotation_node_client{node_id="1"} 5',
        'build_timestamp{tag="v24.1.0",node_id="1"} 1.7e+09',
        'liveness_livenodes{node_id="1"} 3',
    ]


def test_standin_is_told_how_many_nodes_are_live(tmp_path: Path) -> None:
    """By a number, or by a file, which may change while it runs; without either it is alone."""
    file = tmp_path / "live"
    file.write_text("5\n")
    assert [live_nodes(given) for given in ("", "3", str(file))] == ["1", "3", "5"]


@pytest.mark.parametrize(("user", "flags", "words"), [
    ("", [], ["--listen-addr", "127.0.0.1:0"]),
    ("", ["--listen-addr=db1:5"], ["--listen-addr=db1:5"]),
    ("me", ["--x"], ["--listen-addr", "127.0.0.1:0", "--user", "me", "--x"]),
])  # fmt: skip
def test_standin_listens_on_loopback_unless_told(user: str, flags: list[str], words: list[str]) -> None:
    """A port of its own on loopback, unless the flags of cockroach say where."""
    assert words == further(user, flags)
