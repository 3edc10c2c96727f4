"""Members as the daemon knows them, and looks at servers that nobody here wrote."""

import os
import pwd
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from certagent import x509
from certagent.probe.members import look
from tests.making import Ca, make_ca, put
from tests.system.postgres import USER, Postgres, binaries
from tests.system.running import Host, open_tmp
from tests.waiting import wait_until

JOIN = ["--join=db2,[2001:db8::3]:26258", "--join", "db1:26300", "--advertise-addr=db1:26300"]


def members(host: Host) -> dict[str, Any]:
    """What status says of them."""
    found: dict[str, Any] = host.status()["certs_dirs"][0]["members"]
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("usual_umask")
def test_members_are_known_by_join_then_by_file(host: Host) -> None:
    """The server's arguments and its own count of live nodes; then a file, which is read again when it changes."""
    peers = host.base / "peers"
    host.write(extra="[certs_dir.rotation]\noutside_clients = false")
    host.once()
    with host.server(flags=JOIN, environ={"STANDIN_LIVE_NODES": "3"}), host.agent():
        wait_until(lambda: members(host)["live"] == 3, "the number of live nodes is read")
        found = members(host)
        assert (found["source"], found["listed"]) == ("join", ["db2:26257", "[2001:db8::3]:26258"])
        assert (found["own"], found["problem"], found["looks"]) == ("db1:26300", None, [])
        peers.write_text("db2\ndb1:26300\n")
        host.write(extra=f"[certs_dir.rotation]\npeers_file = '{peers}'")
        wait_until(lambda: members(host)["source"] == "peers_file", "the file counts")
        wait_until(lambda: members(host)["listed"] == ["db2:26257"], "the file is read")
        peers.write_text("db2\ndb1:26300\ndb4:x\n")
        wait_until(lambda: members(host)["problem"], "the mistake is seen")
        assert members(host)["problem"] == f"{peers}: line 3: 'x' is no port from 1 to 65535"
        peers.write_text("db2\ndb4\n")
        wait_until(lambda: members(host)["listed"] == ["db2:26257", "db4:26257"], "the file is read again")
        assert members(host)["problem"] is None


@pytest.fixture
def postgres() -> Iterator[tuple[Postgres, Ca]]:
    """A PostgreSQL server with a pair of a CA, which is its bundle."""
    binaries()
    base, ca = open_tmp(), make_ca()
    certs, account = base / "certs", pwd.getpwnam(USER)
    certs.mkdir(mode=0o755)
    (certs / "ca.crt").write_bytes(ca.cert)
    put(certs, "node", ca.pair())
    for file in certs.iterdir():
        os.chown(file, account.pw_uid, account.pw_gid)
    with Postgres(base / "pg", certs) as server:
        yield server, ca
    shutil.rmtree(base)


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.real
@pytest.mark.usefixtures("usual_umask")
def test_look_at_postgres(postgres: tuple[Postgres, Ca]) -> None:
    """It takes a pair of its CA; it refuses a pair of another one, of the same name too, with an alert."""
    server, ca = postgres
    for other, outcome in ((ca, "accepted"), (make_ca("other"), "refused"), (make_ca(), "refused")):
        with x509.memory_file(*other.pair()) as path:
            found = look("127.0.0.1", server.port, path, 60.0)
        assert (found.outcome, "unknown CA" in found.reason) == (outcome, outcome == "refused"), found.reason
        assert x509.led_to(found.chain, ca.cert, ca.at) == (x509.parse_certificates(ca.cert)[0].spki,)
