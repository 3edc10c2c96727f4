"""What a cockroach command line says."""

import pytest

from certagent.core.facts import LoaderFlags
from certagent.process import Arguments, parse, terms_of
from certagent.process.arguments import release_in

ROWS = [
    ("start --certs-dir=/c", {}, Arguments("start", "/c", insecure=False, http_port=8080)),
    ("start --certs-dir /c --http-addr=:²", {}, Arguments("start", "/c", insecure=False, http_port=8080)),
    (f"start --certs-dir /c --http-addr={'9' * 5000}", {}, Arguments("start", "/c", insecure=False, http_port=8080)),
    ("start --certs-dir /c --http-addr=:9090", {}, Arguments("start", "/c", insecure=False, http_port=9090)),
    (
        "start --http-addr=[::1]:8081",
        {"HOME": "/h"},
        Arguments("start", "/h/.cockroach-certs", insecure=False, http_port=8081),
    ),
    (
        "start-single-node",
        {"COCKROACH_CERTS_DIR": "/e"},
        Arguments("start-single-node", "/e", insecure=False, http_port=8080),
    ),
    ("mt start-sql --certs-dir=t", {}, Arguments("mt start-sql", "t", insecure=False, http_port=8080)),
    ("demo --certs-dir=/c --insecure", {}, Arguments("demo", "/c", insecure=True, http_port=8080)),
    ("start --certs-dir=/c --insecure=false", {}, Arguments("start", "/c", insecure=False, http_port=8080)),
    (
        f"start --certs-dir=/{'$A' * 2000}",
        {"A": "a" * 100_000},
        Arguments("start", f"/{'a' * 4095}", insecure=False, http_port=8080),
    ),
    (
        "start --certs-dir=${BASE}/$NODE",
        {"BASE": "/b", "NODE": "n1"},
        Arguments("start", "/b/n1", insecure=False, http_port=8080),
    ),
    ("sql --certs-dir=/c", {}, Arguments("", "/c", insecure=False, http_port=8080)),
    ("node drain --certs-dir=/c", {}, Arguments("", "/c", insecure=False, http_port=8080)),
    ("cert create-node db1 --certs-dir=/c", {}, Arguments("", "/c", insecure=False, http_port=8080)),
]


@pytest.mark.parametrize(("line", "environ", "expected"), ROWS, ids=[r[0] for r in ROWS])
def test_arguments_of_cockroach_are_read(line: str, environ: dict[str, str], expected: Arguments) -> None:
    """Sub-command, certs directory, --insecure and the HTTP port, by cockroach's flags, environment and defaults."""
    assert expected == parse(["cockroach", *line.split()], environ)


MAP, NODE, ROOT = "--cert-principal-map", "--node-cert-distinguished-name", "--root-cert-distinguished-name"
SKIP, USER = "COCKROACH_SKIP_KEY_PERMISSION_CHECK", "COCKROACH_CERT_NODE_USER"
TWO_SANS = ("DNS:db1", "URI:spiffe://x")
TERMS: list[tuple[list[str], dict[str, str], LoaderFlags]] = [
    ([], {}, LoaderFlags()),
    ([f"{MAP}=a:node,b:root"], {}, LoaderFlags(principal_map=(("a", "node"), ("b", "root")))),
    ([MAP, "a:node", f"{MAP}=b:c:root"], {}, LoaderFlags(principal_map=(("a", "node"), ("b:c", "root")))),
    ([f'{MAP}="x,y:node",,nocolon'], {}, LoaderFlags(principal_map=(("x,y", "node"),))),
    ([f"{MAP}="], {}, LoaderFlags()),
    ([f"{NODE}=CN=n,O=x", ROOT, "CN=r"], {}, LoaderFlags(node_dn="CN=n,O=x", root_dn="CN=r")),
    ([], {SKIP: "true"}, LoaderFlags(skip_key_check=True)),
    ([], {SKIP: "1"}, LoaderFlags(skip_key_check=True)),
    ([], {SKIP: "yes"}, LoaderFlags()),
    ([], {SKIP: "false"}, LoaderFlags()),
    ([], {USER: "custom"}, LoaderFlags()),
    (
        ["--node-cert-san=DNS=db1,uri=spiffe://x", "--root-cert-san", "DNS=r,x"],
        {},
        LoaderFlags(node_sans=TWO_SANS, root_sans=("DNS:r",)),
    ),
    (["--allow-debug-user", "--disallow-root-login"], {}, LoaderFlags(debug_user=True, root_login=False)),
    (["--allow-debug-user=false", "--disallow-root-login=true"], {}, LoaderFlags(root_login=False)),
    (["--advertise-addr=db1:26257", "--advertise-sql-addr", "[::1]:1"], {}, LoaderFlags(advertised=("db1", "::1"))),
    (["--advertise-addr=:26257"], {}, LoaderFlags()),
]


@pytest.mark.parametrize(("words", "environ", "expected"), TERMS, ids=[str(i) for i in range(len(TERMS))])
def test_arguments_loader_flags(words: list[str], environ: dict[str, str], expected: LoaderFlags) -> None:
    """Flags that change the verdict: list flags add up and are CSV, the last colon divides; booleans are Go's."""
    assert expected == terms_of(["cockroach", "start", *words], environ)


@pytest.mark.parametrize(
    ("words", "subcommand"),
    [
        (["start"], "start"),
        (["--logtostderr", "start"], "start"),
        (["--log-dir", "start", "sql"], ""),
        (["--log-dir", "/var/log", "start"], "start"),
        (["--log-dir=/var/log", "start", "--certs-dir", "/certs"], "start"),
        (["mt", "start-sql"], "mt start-sql"),
        (["mt", "--certs-dir", "/certs", "start-sql"], "mt start-sql"),
        (["mt", "start-proxy"], ""),
        (["sql", "start"], ""),
        (["sql", "--database", "start"], ""),
        (["sql", "-e", "start"], ""),
        (["node", "status", "start-single-node"], ""),
        (["cert", "create-node", "demo"], ""),
        (["debug", "zip", "mt", "start-sql"], ""),
        ([], ""),
    ],
)
def test_arguments_subcommand_is_first_word_not_a_flag_value(words: list[str], subcommand: str) -> None:
    """A client command that names `start` somewhere serves nothing, and would die of a SIGHUP."""
    assert parse(["cockroach", *words], {}).subcommand == subcommand


RELEASES = [
    ("/opt/cockroach-v24.1.5.linux-amd64/cockroach", (24, 1)),
    ("/usr/local/bin/cockroach-v25.4.0", (25, 4)),
    ("cockroach23.1", (23, 1)),
    ("/usr/local/bin/cockroach", None),
    ("/srv/cockroach-2024/cockroach", None),
    ("/srv/v24.1/cockroach", None),
]


@pytest.mark.parametrize(("path", "release"), RELEASES)
def test_arguments_version_in_path_of_program(path: str, release: tuple[int, int] | None) -> None:
    """As the releases are named; any other path says nothing."""
    assert release == release_in("", path)
