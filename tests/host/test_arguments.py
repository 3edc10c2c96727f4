"""What a cockroach command line says."""

import pytest

from certagent.host.procs import Arguments, parse

ROWS = [
    ("start --certs-dir=/c", {}, Arguments("start", "/c", insecure=False, http_port=8080)),
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
    ("sql --certs-dir=/c", {}, Arguments("", "/c", insecure=False, http_port=8080)),
    ("node drain --certs-dir=/c", {}, Arguments("", "/c", insecure=False, http_port=8080)),
    ("cert create-node db1 --certs-dir=/c", {}, Arguments("", "/c", insecure=False, http_port=8080)),
]


@pytest.mark.parametrize(("line", "environ", "expected"), ROWS, ids=[r[0] for r in ROWS])
def test_arguments(line: str, environ: dict[str, str], expected: Arguments) -> None:
    """Sub-command, certs-dir, --insecure and the HTTP port, by cockroach's flags, environment and defaults."""
    assert expected == parse(["cockroach", *line.split()], environ)
