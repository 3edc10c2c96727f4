"""TOML -> policies: every error at once, with its key path; layouts and defaults worked in."""

import os
import socket
import tomllib
from datetime import timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from certagent.config import Config, ConfigError, build, document_of, load
from certagent.config.schema import owner
from certagent.core.policy import RotationRule

BASE = """
[authority.house]
type = "local"
directory = "/var/lib/certagent/ca"
create = true
[authority.hands]
type = "none"
[[certs_dir]]
path = "/certs"
owner = "root"
authority = "house"
names = ["db1.example.com", "10.0.0.5"]
clients = ["root"]
"""
EXPOSED = "[authority.x]\ntype = 'command'\ncommand = ['/usr/bin/ca']\n{setting}\n"


def read(text: str) -> Config:
    return build("c.toml", tomllib.loads(text))


def errors(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return list(caught.value.errors)


ROWS = [
    (
        "an unknown key, with a suggestion",
        BASE + 'naems = ["x"]',
        "certs_dir[0].naems: unknown setting; did you mean 'names'?",
    ),
    ("an unknown table", BASE + "[agnet]\n", "agnet: unknown setting; did you mean 'agent'?"),
    (
        "a layout that is none",
        BASE + 'layout = "splitca"',
        "layout: must be one of standard, split-node, split-ca, tenant, client; did you mean 'split-ca'?",
    ),
    (
        "a member with a port that is none",
        BASE + "[certs_dir.rotation]\npeers = ['db2:26257', 'db3:0']",
        "certs_dir[0].rotation.peers: 'db3:0': '0' is no port from 1 to 65535",
    ),
    (
        "a member that is no address",
        BASE + "[certs_dir.rotation]\npeers = 'https://db2'",
        "rotation.peers: 'https://db2': write host:port, such as db2:26257 or [2001:db8::2]:26257",
    ),
    (
        "members in two places",
        BASE + "[certs_dir.rotation]\npeers = ['db2']\npeers_file = '/etc/peers'",
        "rotation.peers_file: name the members in `peers` or in `peers_file`, not in both",
    ),
    (
        "a relative file of members",
        BASE + "[certs_dir.rotation]\npeers_file = 'peers'",
        "rotation.peers_file: must be an absolute path",
    ),
    (
        "an unknown setting of the rotation",
        BASE + "[certs_dir.rotation]\npeer = ['db2']",
        "rotation.peer: unknown setting; did you mean 'peers'?",
    ),
    (
        "split-ca without a client authority",
        BASE + 'layout = "split-ca"',
        'client_authority: is required by layout = "split-ca"',
    ),
    (
        "an authority nobody configured",
        BASE.replace('"house"\nnames', '"hose"\nnames'),
        "authority: there is no [authority.hose]",
    ),
    (
        "an owner nobody knows",
        BASE.replace('"root"\nauth', '"noone-here"\nauth'),
        "there is no user 'noone-here' on this host",
    ),
    (
        "a fraction of the lifetime in per cent",
        BASE + '[certs_dir.file.node]\nrenew_at = "66%"',
        'renew_at: write a duration such as "20s", "15m", "6h" or "30d", or a fraction of the lifetime such as "2/3"',
    ),
    (
        "a file named with its ending",
        BASE + '[certs_dir.file."node.crt"]',
        "file.node.crt: write the name without .crt",
    ),
    ("a relative path", BASE.replace('"/certs"', '"certs"'), "path: must be an absolute path (it is 'certs')"),
    (
        "a wide key mode",
        BASE + '[certs_dir.file.node]\nkey_mode = "0644"',
        "file.node.key_mode: wider than cockroach accepts",
    ),
    (
        "a CA that ends before its leaves",
        BASE.replace('"local"', '"local"\nca_lifetime = "30d"'),
        "authority.house.ca_lifetime: must be longer than lifetime",
    ),
    ("a bad duration", BASE + '[certs_dir.file.node]\nlifetime = "3 weeks"', 'write a duration such as "20s"'),
    ("a fraction over one", BASE + '[certs_dir.file.node]\nrenew_at = "3/2"', "a fraction between 0 and 1"),
    (
        "bad names",
        BASE.replace('"db1.example.com"', '"db 1", "a..b"'),
        "names: neither a DNS name nor an IP address: 'db 1', 'a..b'",
    ),
    (
        "URI SANs that cockroach or Go cannot read",
        BASE + "[certs_dir.file.'client.root']\nuris = ['crdb://tenant/x/user/root', 'no uri', 'spiffe://x']",
        "uris: not a URI such as crdb://tenant/1/user/root: 'crdb://tenant/x/user/root', 'no uri'",
    ),
    ("URI SANs of a bundle", BASE + "[certs_dir.file.ca]\nuris = []", "file.ca.uris: a trust bundle has none"),
    (
        "an address with a zone",
        BASE.replace('"db1.example.com"', '"fe80::1%eth0"'),
        "names: 'fe80::1%eth0': an address of",
    ),
    (
        "a name that ends in a number",
        BASE.replace('"db1.example.com"', '"10.0.0.256"'),
        "'10.0.0.256': a name that ends",
    ),
    (
        "a long label",
        BASE.replace('"db1.example.com"', f'"{"a" * 64}.example.com"'),
        "at most 253 characters and 63 in",
    ),
    ("a user that makes no file", BASE.replace('"root"]', '"", "a/b"]'), "no name after 'client'"),
    ("a user that leads elsewhere", BASE.replace('"root"]', '"x/../../y"]'), "'client.x/../../y' is not a file name"),
    ("a file that leads elsewhere", BASE + "[certs_dir.file.'client.a/b']\n", "'client.a/b' is not a file name"),
    (
        "a dot without quotes",
        BASE + "[certs_dir.file.client.root]\nlifetime = '5d'",
        'file.client: quote a name that contains a dot: [certs_dir.file."client.root"]',
    ),
    (
        "a warning after the alarm",
        BASE + "[certs_dir.file.node]\nwarn = '1d'\ncritical = '5d'",
        "file.node.warn: must not be shorter than critical",
    ),
    ("a socket that is too long", BASE + f"[agent]\nsocket = '/{'s' * 120}'", "agent.socket: longer than 107 bytes"),
    (
        "the state inside the certs-dir",
        BASE + "[agent]\nstate_dir = '/certs/state'",
        "agent.state_dir: the state must not be in the certs directory /certs",
    ),
    ("an authority that is no table", "[authority]\ntype = 'local'\n" + BASE, "authority.type: must be a table"),
    ("a file cockroach refuses", BASE + "[certs_dir.file.'node.foo']\n", "no name may follow"),
    (
        "probes without a port",
        BASE + '[certs_dir.process]\nprobe = ["127.0.0.1", "h:0", "h:1"]',
        """write "127.0.0.1:26257/sql" instead of '127.0.0.1', 'h:0'""",
    ),
    (
        "the CA inside the certs-dir",
        BASE.replace("/var/lib/certagent/ca", "/certs/ca"),
        "must not be in the certs directory",
    ),
    (
        "a managed key as an enrolment pair",
        BASE + EXPOSED.format(setting="client_cert = '/certs/node.crt'\nclient_key = '/certs/node.key'"),
        (
            "authority.x.client_key: /certs/node.key is in the certs directory /certs: a managed key is not given"
            " to a worker"
        ),
    ),
    (
        "a managed key as a secret",
        BASE + EXPOSED.format(setting="secret = '/certs/client.root.key'"),
        "authority.x.secret: /certs/client.root.key is in the certs directory /certs",
    ),
    (
        "a program that may read the keys",
        BASE + EXPOSED.format(setting="readable = ['/']"),
        "authority.x.readable: / would give a worker access to the certs directory /certs",
    ),
    *(
        (
            f"the same, spelt {place}",
            BASE + EXPOSED.format(setting=f"readable = ['{place}']"),
            "would give a worker access to the certs directory",
        )
        for place in ("/./certs", "//certs", "/x/../certs", "/certs/.", "/certs/../certs/sub")
    ),
    (
        "a managed key, spelt otherwise",
        BASE + EXPOSED.format(setting="client_cert = '/c.crt'\nclient_key = '/x/../certs/./node.key'"),
        "is in the certs directory /certs: a managed key is not given to a worker",
    ),
    ("a directory twice, spelt otherwise", BASE + "[[certs_dir]]\npath = '/x/../certs'\nowner = 'root'\n", "2 times"),
    (
        "a program that may write into the certs-dir",
        BASE + EXPOSED.format(setting="writable = ['/certs/out']"),
        "authority.x.writable: /certs/out would give a worker access to the certs directory /certs",
    ),
    (
        "a program that may read the agent's state",
        BASE + EXPOSED.format(setting="readable = ['/var/lib']"),
        "authority.x.readable: /var/lib would give a worker access to the agent's state /var/lib/certagent",
    ),
    (
        "a program that may read the key of the embedded CA",
        BASE + EXPOSED.format(setting="readable = ['/var/lib/certagent/ca']"),
        "authority.x.readable: /var/lib/certagent/ca would give a worker access to the embedded CA",
    ),
    ("no certs-dir at all", "[agent]\n", "at least one [[certs_dir]] is required"),
    ("one bracket", "[certs_dir]\npath = '/c'\n", "write [[certs_dir]], with double brackets"),
    ("a directory twice", BASE + "[[certs_dir]]\npath = '/certs'\nowner = 'root'\n", "/certs is configured 2 times"),
    ("a type that is none", BASE.replace('"none"', '"lokal"'), "did you mean 'local'?"),
    ("zero seconds", BASE + '[agent]\nrescan = "0s"', "agent.rescan"),
    ("a wrong type", BASE + "[agent]\nstate_dir = 5", "agent.state_dir: must be an absolute path (it is 5)"),
]


@pytest.mark.parametrize(("label", "text", "message"), ROWS, ids=[r[0] for r in ROWS])
def test_config_error_names_file_key_and_remedy(label: str, text: str, message: str) -> None:
    """Each mistake is one error that names the file, the key path and the remedy."""
    found = errors(text)
    assert [e for e in found if message in e], (label, found)
    assert all(e.startswith("c.toml: ") for e in found)


def test_config_paths_beside_managed_keys_are_allowed() -> None:
    """The bundle of the certs directory as roots, a directory with a similar name, a part of the agent's own state."""
    fine = "issuing_roots = '/certs/ca.crt'\nreadable = ['/certs-of-others', '/var/lib/certagent/openssl-ca']\n"
    assert read(BASE + EXPOSED.format(setting=fine + "secret = '/etc/ca/key'")).authorities["x"].type == "command"


def test_config_malformed_paths_are_not_compared() -> None:
    """Two malformed paths are two errors, not one directory that is configured twice."""
    text = BASE.replace('"/certs"', '"certs"')
    assert not [e for e in errors(text + text[text.index("[[") :]) if "2 times" in e]


def test_config_error_does_not_repeat_secret() -> None:
    """A secret in the place of its file name does not reach a log."""
    told = errors(BASE + '[authority.v]\ntype = "vault"\nurl = "https://v"\nrole = "r"\ntoken = "hvs.s3cret"')
    (token,) = [e for e in told if e.startswith("c.toml: authority.v.token: ")]
    assert "name where the secret is" in token, "and not that it is required"
    assert "s3cret" not in str(told)


def test_config_errors_are_reported_together() -> None:
    """Ten mistakes are ten errors in one run."""
    assert (
        len(errors(BASE.replace("clients", "client") + 'naems = 1\nlayout = "x"\n[agent]\nrescan = 1\nenforce = "no"'))
        == 5
    )


WANTS: list[tuple[str, dict[str, tuple[bool, bool, str | None]]]] = [
    ("", {"ca": (False, False, None), "node": (True, True, "node"), "client.root": (False, True, "root")}),
    (
        'layout = "split-node"',
        {
            "node": (True, False, None),
            "client.node": (False, True, "node"),
            "client.root": (False, True, "root"),
            "ca": (False, False, None),
        },
    ),
    (
        'layout = "split-ca"\nclient_authority = "hands"',
        {
            "node": (True, False, None),
            "client.node": (False, True, "node"),
            "client.root": (False, True, "root"),
            "ca": (False, False, None),
            "ca-client": (False, False, None),
        },
    ),
    (
        "[certs_dir.file.ui]\n",
        {
            "ui": (True, False, None),
            "node": (True, True, "node"),
            "ca": (False, False, None),
            "client.root": (False, True, "root"),
        },
    ),
]


@pytest.mark.parametrize(("options", "expected"), WANTS, ids=["standard", "split-node", "split-ca", "ui"])
def test_config_layout_expands_to_wants(options: str, expected: dict[str, tuple[bool, bool, str | None]]) -> None:
    """A layout expands to wants: (serverAuth, clientAuth, principal) of each file."""
    found = read(BASE + options).policies[0].wants
    assert expected == {w.name.stem: (w.server, w.client, w.principal) for w in found}


def test_config_key_type_default_is_not_a_difference() -> None:
    """Only a configured key type makes another one a difference."""
    files = [read(BASE + extra).policies[0].want("node") for extra in ("", '[certs_dir.file.node]\nkey = "ecdsa-p256"')]
    assert [(w.key, w.key_configured) for w in files if w] == [("ecdsa-p256", False), ("ecdsa-p256", True)]


def test_config_defaults() -> None:
    """A minimal file: the defaults of the documentation."""
    config = read(BASE)
    settings, policy = config.settings, config.policies[0]
    assert (settings.state_dir, settings.socket) == ("/var/lib/certagent", "/run/certagent/control.sock")
    assert (settings.rescan, settings.enforce) == (timedelta(seconds=30), "repair")
    assert (policy.process.names, policy.process.reload, policy.keep) == (("cockroach",), True, 5)
    node = policy.want("node")
    assert node is not None
    assert (node.key, node.key_mode, node.reuse_key, node.names) == (
        "ecdsa-p256",
        0o600,
        False,
        ("db1.example.com", "10.0.0.5"),
    )


def test_config_file_table_overrides_directory() -> None:
    """A file's own table wins over the directory's defaults."""
    options = "[certs_dir.file.node]\nnames = ['x', '::1']\nrenew_at = '3/4'\nkey = 'rsa-3072'\n"
    options += "authority = ['hands', 'house']\n"
    node = read(BASE + options).policies[0].want("node")
    assert node is not None
    assert (node.names, node.renew_at.fraction, node.key, node.authorities) == (
        ("x", "::1"),
        Fraction(3, 4),
        "rsa-3072",
        ("house",),
    )


def test_config_names_are_lower_case_without_final_dot() -> None:
    """A name is the same in any case, and a certificate has it without the final dot."""
    node = read(BASE.replace("db1.example.com", "DB1.Example.com.")).policies[0].want("node")
    assert node is not None
    assert node.names == ("db1.example.com", "10.0.0.5")


def test_config_addresses_are_canonical() -> None:
    """Two spellings of one IPv6 address are one name."""
    node = read(BASE.replace('"10.0.0.5"', '"2001:0db8:0:0::1", "2001:db8::1"')).policies[0].want("node")
    assert node is not None
    assert node.names == ("db1.example.com", "2001:db8::1")


def test_config_file_unreadable_is_named(tmp_path: Path) -> None:
    """A missing file, one that is not TOML, not text, or nested without end: each an error that names it."""
    for content in (None, b"[[", b"\xff\xfe", b"x = " + b"[" * 200_000):
        path = tmp_path / "config.toml"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"config\.toml"):
            load(str(path))


def test_config_file_with_byte_order_mark_is_read(tmp_path: Path) -> None:
    """A UTF-8 BOM, which Windows editors write, is ignored; the error about UTF-16 names it."""
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load(str(path)).policies[0].want("node") is not None
    path.write_bytes(BASE.encode("utf-16"))
    with pytest.raises(ConfigError, match=r"UTF-16 \(it starts with a byte order mark\); save it as UTF-8"):
        load(str(path))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a = ", "not valid TOML"),
        (b"\xff", "not valid TOML"),
        (b"\xfe\xff\0a", "it is UTF-16"),
        (b"a = " + b"[" * 100_000, "not valid TOML"),
    ],
    ids=["not TOML", "not UTF-8", "UTF-16", "too deep"],
)
def test_config_bytes_that_are_no_toml_are_named(data: bytes, told: str) -> None:
    """Whatever the bytes are, the answer is one error that names the file."""
    with pytest.raises(ConfigError, match=f"^/etc/c.toml(:1)?: .*{told}"):
        document_of("/etc/c.toml", data)


@pytest.mark.parametrize("value", [1, "x", [], {}, True, 1.5, [[]], [{}], {"a": {"b": []}}])
@pytest.mark.parametrize("key", ["agent", "authority", "certs_dir"])
def test_config_any_shape_is_an_error_not_a_crash(key: str, value: Any) -> None:
    """Whatever is at the top level, the answer is a list of errors (or, for an empty table, a configuration)."""
    document = tomllib.loads(BASE) | {key: value}
    found: tuple[str, ...] = ("it is sound",)
    try:
        build("c.toml", document)
    except ConfigError as error:
        found = error.errors
    assert found


SOURCES = """
[authority.public]
type = "local"
directory = "/var/lib/certagent/public"
[authority.other]
type = "local"
directory = "/var/lib/certagent/other"
[[certs_dir]]
path = "/certs"
owner = "root"
layout = "split-ca"
authority = "house"
client_authority = "other"
clients = ["root"]
[certs_dir.file.ui]
authority = "public"
[certs_dir.file.ca-ui]
[certs_dir.file."tenant-signing.7"]
"""


def test_config_authority_of_each_file() -> None:
    """Servers by `authority`, clients by `client_authority`, `ca-ui` by that of `ui`; no CA signs tenants' signers."""
    found = {w.name.stem: w.authorities for w in read(BASE.partition("[[certs_dir]]")[0] + SOURCES).policies[0].wants}
    assert {
        "ca": ("house",),
        "ca-client": ("other",),
        "ca-ui": ("public",),
        "client.node": ("other",),
        "client.root": ("other",),
        "node": ("house",),
        "tenant-signing.7": (),
        "ui": ("public",),
    } == found


def test_config_host_name_seeds_jitter(tmp_path: Path) -> None:
    """A configuration is for this host, whose name its jitter comes from."""
    path = tmp_path / "c.toml"
    path.write_text(BASE)
    assert socket.gethostname() == load(str(path)).policies[0].host
    assert "db1" == build("c.toml", tomllib.loads(BASE), "db1").policies[0].host


def test_config_check_resolves_links_into_certs_directory(tmp_path: Path) -> None:
    """`config check` resolves links; a start compares the spelling alone, because a mount may hang."""
    certs, link, file = tmp_path / "certs", tmp_path / "elsewhere", tmp_path / "config.toml"
    certs.mkdir()
    link.symlink_to(certs)
    file.write_text(BASE.replace('"/certs"', f'"{certs}"') + EXPOSED.format(setting=f"readable = ['{link}']"))
    assert load(str(file)).policies
    with pytest.raises(ConfigError, match=f"{link} would give a worker access to the certs directory {certs}"):
        load(str(file), os.path.realpath)


def test_config_ca_lifetime_applies_to_new_ca_only() -> None:
    """`ca_lifetime` applies to a CA to be made: an existing one has its own."""
    there = BASE.replace("create = true", "create = false").replace('"local"', '"local"\nlifetime = "3650d"')
    assert read(there).policies


def test_config_number_of_five_thousand_digits_is_error(tmp_path: Path) -> None:
    """Python refuses to read it, with an error other than TOML's: still a mistake of the file, not a traceback."""
    file = tmp_path / "config.toml"
    file.write_text(BASE + f"keep = {'1' * 5000}\n")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(str(file))


@pytest.mark.parametrize(("text", "expected"), [
    ("1000850000:0", (1000850000, 0)),
    ("root:4242", (0, 4242)),
    ("0", (0, 0)),
    (str(os.getuid()), (os.getuid(), os.getgid())),
])  # fmt: skip
def test_config_owner_by_uid(text: str, expected: tuple[int, int]) -> None:
    """A uid without a name, as under OpenShift: the number is used, and replaces the name in every remedy."""
    found = owner(text)
    assert (found.uid, found.gid, found.user) == (*expected, text.partition(":")[0])


def test_config_owner_by_uid_without_group_is_error() -> None:
    """A uid without a name that is not this process's own has no known group: the remedy is to write one."""
    with pytest.raises(ValueError, match="write 1000850000:GROUP"):
        owner("1000850000")


@pytest.mark.parametrize("written", ["client.root", "root.crt", "root.key", "client.root.crt", "client.root.key"])
def test_config_client_is_a_user_not_a_file(written: str) -> None:
    """Who names the file of a pair is told the user to write; a user with a dot stays one."""
    [told] = errors(BASE.replace('clients = ["root"]', f'clients = ["{written}"]'))
    assert "name the user, not its file: write 'root'" in told
    dotted = read(BASE.replace('clients = ["root"]', 'clients = ["ro.ot"]'))
    assert "client.ro.ot" in {want.name.stem for want in dotted.policies[0].wants}


def test_members_have_a_port_and_one_spelling() -> None:
    """Each once, in its order; one alone may be a text; none at all is a node that is alone."""
    rows = [
        ("['DB2', 'db2:26257', '[2001:DB8::3]', '10.0.0.3:1']", ("db2:26257", "[2001:db8::3]:26257", "10.0.0.3:1")),
        ("'db2'", ("db2:26257",)),
        ("[]", ()),
    ]
    for written, expected in rows:
        found = read(f"{BASE}[certs_dir.rotation]\npeers = {written}\n").policies[0].rotation
        assert (found.peers, found.peers_file) == (expected, "")


def test_rotation_without_settings() -> None:
    """Nothing says who the members are: the server's arguments may."""
    assert read(BASE).policies[0].rotation == RotationRule()
    own = "[certs_dir.rotation]\npeers_file = '/etc/peers/'\nsoak = '1h'\ncanary = true\noutside_clients = false\n"
    expected = RotationRule(peers_file="/etc/peers", soak=timedelta(hours=1), canary=True, outside_clients=False)
    assert read(BASE + own).policies[0].rotation == expected
