"""What `certagent init` writes for a certs directory: the configuration adopts it, whatever its names contain."""

import tomllib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.core import toml
from certagent.core.adoption import Found, hosts_in, layout_of, roots, rows, table
from certagent.core.facts import Directory, LoaderFlags, Pair
from certagent.core.proposal import grouped, proposed
from certagent.core.units import drop_in, unit_of
from tests.core.building import OWNER, VOLUME, file, leaf, pair, process

PLACE = Directory("/certs", exists=True, uid=OWNER.uid, gid=OWNER.gid, mode=0o700)


def found(*stems: str, **changes: Any) -> Found:
    """A directory with these files, whose names a configuration accepts."""
    pairs = tuple(pair(stem) for stem in stems)
    names = {p.name.stem: hosts_in(p.leaf) for p in pairs if p.leaf and "server" in p.name.kind.asked_as}
    usual = {"path": "/certs", "directory": PLACE, "owner": "cockroach", "user": "cockroach", "names": names}
    return Found(pairs=pairs, **{**usual, **changes})


def read(one: Found) -> dict[str, Any]:
    """The table, as TOML has it."""
    directory: dict[str, Any] = tomllib.loads("\n".join(table(one)))["certs_dir"][0]
    return directory


LAYOUTS = [
    ("ca node client.root", True, "standard"),
    ("ca", True, "standard"),
    ("ca ca-client node client.root", True, "standard"),
    ("ca node client.node", True, "split-node"),
    ("ca ca-client node client.node", True, "split-ca"),
    ("ca client-tenant.5 tenant-signing.5", True, "tenant"),
    ("ca client.app", False, "client"),
    ("ca client.app", True, "standard"),
    ("ca node client.app", False, "standard"),
]


@pytest.mark.parametrize(("stems", "served", "layout"), LAYOUTS)
def test_adoption_layout_follows_from_files(stems: str, served: bool, layout: str) -> None:
    """The files decide; a directory without node.crt is a client's only if no server uses it."""
    assert layout == layout_of(found(*stems.split(), served=served))


def test_adoption_standard_table() -> None:
    """The files of the layout need no table of their own."""
    assert read(found("ca", "node", "client.root", "client.app.reports")) == {
        "path": "/certs",
        "owner": "cockroach",
        "layout": "standard",
        "authority": "undecided",
        "names": ["db1.example.com", "10.0.0.5"],
        "clients": ["root", "app.reports"],
    }


def test_adoption_split_ca_and_further_files() -> None:
    """A file that no layout has gets a table; names of `ui` that are others stand there, with its key's mode."""
    ui = pair("ui", leaf("ui", dns=("console.example.com",), ips=()), mode=0o400)
    one = found("ca", "ca-client", "ca-ui", "node", "client.node", "client-tenant.5", "ca-client-tenant")
    names = {**(one.names or {}), "ui": ("console.example.com",), "client-tenant.5": ()}
    one = replace(one, pairs=(*one.pairs, ui), names=names)
    assert read(one) == {
        "path": "/certs",
        "owner": "cockroach",
        "layout": "split-ca",
        "authority": "undecided",
        "client_authority": "undecided",
        "names": ["db1.example.com", "10.0.0.5"],
        "file": {
            "ca-ui": {},
            "ca-client-tenant": {},
            "client-tenant.5": {},
            "ui": {"names": ["console.example.com"], "key_mode": "0400"},
        },
    }


@pytest.mark.parametrize(
    ("key", "own"),
    [
        (file("node.key", 0o640, uid=0), {"key_owner": "root:cockroach", "key_mode": "0640"}),
        (file("node.key", 0o600), {"key_owner": "root:cockroach"}),
        (file("node.key", 0o644), {"key_owner": "root:cockroach"}),
        (file("node.key", 0o640), {"key_owner": "root:cockroach"}),
        (file("node.key", kind="symlink", mode=0o777), None),
        (None, None),
    ],
)
def test_adoption_key_mode_and_owner(key: Any, own: Any) -> None:
    """What cockroach accepts is kept; a mode that is too wide is not: the agent repairs it."""
    made = pair("node")
    made = replace(made, key=replace(made.key, file=key) if made.key and key else None)
    one = replace(found("ca", "node"), pairs=(pair("ca"), made), key_owners={"node": "root:cockroach"})
    assert read(one).get("file", {}).get("node") == own


def test_adoption_without_usable_names() -> None:
    """Names that a configuration would refuse are left out: certagent then keeps those of the certificate."""
    one = read(found("ca", "node", names=None))
    assert "names" not in one
    assert "names" not in read(found("ca", served=True))


def test_adoption_key_alone_and_names_that_toml_cannot_hold() -> None:
    """A key without a certificate, and a user's name that is no UTF-8, are left to the operator."""
    odd = Pair(pair("client.a\udcff").name, pair("client.root").cert)
    alone = replace(pair("client.app"), cert=None)
    one = replace(found("ca", "node"), pairs=(pair("ca"), pair("node"), odd, alone))
    assert "clients" not in read(one)
    assert "    client.app.crt: missing; there is a key alone, which is not adopted" in [
        f"  {row}" for row in rows(one)
    ]


def test_adoption_rows_say_what_was_seen() -> None:
    """Directory, certificates with principals, names and issuer, and each process with the verdict on it."""
    broken = pair("client.root")
    assert broken.cert is not None
    broken = replace(broken, cert=replace(broken.cert, leaf=None, problem="it is empty"))
    ok = process(command="cockroach start", terms=LoaderFlags(release=(24, 1)))
    far = process(state="forbidden", listeners=(), problem="pid 7 listens elsewhere", advice="set `probe`")
    odd = process(state="forbidden", problem="pid 8 runs as mallory")
    one = replace(found("ca", "node", processes=(ok, far, odd)), pairs=(pair("ca"), pair("node"), broken))
    assert list(rows(one)) == [
        "/certs: owner cockroach, mode 0700",
        "  ca.crt: CN=node, until 2035-02-10",
        "  node.crt: CN=node (DNS:db1.example.com, IP:10.0.0.5) by CN=house, until 2026-12-14",
        "  client.root.crt: cannot be used: it is empty",
        "  pid 100 (cockroach start, user cockroach, version 24.1): 127.0.0.1:26257; serving",
        "  pid 100 (, user cockroach): no port; forbidden",
        "    pid 7 listens elsewhere; set `probe`",
        "  pid 100 (, user cockroach): 127.0.0.1:26257; forbidden",
        "    pid 8 runs as mallory",
    ]


def text(*stems: str, **changes: Any) -> str:
    one = found(*stems, **changes)
    return proposed(unit_of(one.user), (one,), host="db1", at="2026-11-24 12:00Z").text


def test_adoption_names_pages_where_they_are() -> None:
    """In a checkout by their names; where a package put them, by the whole path."""
    one = found("ca", "node")
    for place in ("", "/usr/share/doc/certagent/"):
        made = proposed(unit_of(one.user), (one,), host="db1", at="now", manual=place).text.splitlines()
        assert f"# {place}config.example.toml has every other setting," in made
        assert f"# {place}docs/configuration.md explains them." in made


@pytest.mark.parametrize(
    "hostile", ['x"\n[authority.evil]\ntype = "local"\n#', "\x1b[2J\r\n\\", "é\U0001f511\u2028\x7f"]
)
def test_adoption_hostile_text_stays_a_value(hostile: str) -> None:
    """Whatever a path, a user, a command or a certificate contains: no other table, no other key, no escape."""
    mean = leaf("node", subject=f"CN={hostile}", issuer=hostile, dns=(hostile,))
    one = found("ca", "node", path=f"/srv/{hostile}", owner="cockroach", notes=(hostile,))
    client = Pair(replace(pair("client.root").name, subject=hostile), pair("client.root").cert)
    bad = process(command=hostile, user=hostile, problem=hostile)
    one = replace(one, pairs=(pair("ca"), pair("node", mean), client), processes=(bad,), names={"node": (hostile,)})
    made = proposed(unit_of("cockroach"), (one,), host=hostile, at="now").text
    document = tomllib.loads(made)
    assert set(document) == {"authority", "certs_dir"}
    assert set(document["authority"]) == {"undecided"}
    only = document["certs_dir"][0]
    assert (only["path"], only["names"], only["clients"]) == (f"/srv/{hostile}", [hostile], [hostile])
    assert all(c == "\n" or c.isprintable() for c in made)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_toml_string_is_read_back(value: str) -> None:
    """Any text that TOML can hold, as a value, as a key and beside a comment."""
    line = f"{toml.comment(value)}\n{toml.key(value)} = {toml.strings((value, value))}"
    assert tomllib.loads(line) == {value: [value, value]}
    assert toml.writable(value)
    assert not toml.writable(f"{value}\udc80")


def test_adoption_examples_name_the_live_root() -> None:
    """The pins of the examples are those of ca.crt: its fingerprint need not be looked up."""
    assert roots(found("ca", "node")) == ("ca-1",)
    assert 'issuing_fingerprints = ["ca-1"]' in text("ca", "node")
    assert 'issuing_fingerprints = ["0011' in text("node")
    assert roots(replace(found("ca"), pairs=(replace(pair("ca"), cert=None),))) == ()


@pytest.mark.parametrize(
    ("user", "unit", "config"),
    [
        ("cockroach", "certagent", "/etc/certagent/config.toml"),
        ("root", "certagent-root", "/etc/certagent/root.toml"),
        ("second", "certagent@second", "/etc/certagent/second.toml"),
    ],
)
def test_adoption_unit_of_each_owner(user: str, unit: str, config: str) -> None:
    """Each has the unit that reads its file, with a state directory and a socket that no other agent has."""
    made = unit_of(user)
    assert (made.name, made.config) == (unit, config)
    document = tomllib.loads(text("ca", "node", user=user))
    place = unit.replace("@", "-")
    own = {"state_dir": f"/var/lib/{place}", "socket": f"/run/{place}/control.sock"}
    assert document.get("agent") == (None if user == "cockroach" else own)


def test_adoption_groups_by_user() -> None:
    """One agent for all directories of a user."""
    one, other = found("ca"), found("ca", user="root")
    assert grouped((one, other, one)) == {"cockroach": (one, one), "root": (other,)}


@pytest.mark.parametrize(
    ("paths", "lines"),
    [
        (("/var/lib/cockroach/certs", "/var/lib/cockroach/2/certs"), ()),
        (("/srv/crdb/certs", "/srv/crdb/other"), ("[Service]", "ReadWritePaths=/srv/crdb")),
        (("/home/roach/certs",), ("[Service]", "ProtectHome=no", "ReadWritePaths=/home/roach")),
        (("/srv/50% off/certs",), ("[Service]", 'ReadWritePaths="/srv/50%% off"')),
        (("/certs",), ("[Service]", "ReadWritePaths=/")),
    ],
)
def test_adoption_drop_in_of_unit(paths: tuple[str, ...], lines: tuple[str, ...]) -> None:
    """The parent of a directory that the shipped unit cannot write, and its home."""
    assert lines == drop_in(paths)


def test_adoption_steps_name_the_file_and_the_unit() -> None:
    """What to do next; a directory that certagent only observes needs no drop-in."""
    one = found("ca", "node", path="/srv/crdb/certs")
    made = proposed(unit_of("cockroach"), (one,), host="db1", at="now")
    assert made.steps("/tmp/a b.toml")[0] == "certagent config check -c '/tmp/a b.toml'"
    assert "systemctl edit certagent: add the lines that the file shows" in made.steps("x")
    watched = replace(one, directory=replace(PLACE, observe_only=VOLUME))
    assert proposed(unit_of("cockroach"), (watched,), host="db1", at="now").drop_in == ()
