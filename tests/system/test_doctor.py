"""`certagent doctor` with real agents, files and processes; under systemd it is tested by test_documented.py."""

import json
import os
import pwd
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.running import Host, looked, open_tmp
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("usual_umask")]
BAO = """[authority.bao]
type = "vault"
url = "https://127.0.0.1:1"
role = "cockroach"
token = "{token}"
timeout = "5s"
"""


def doctor(host: Host, *words: str) -> dict[str, list[dict[str, Any]]]:
    """Its lines, by what they are about."""
    done = looked("doctor", *words, "--json", "-c", str(host.config))
    lines: dict[str, list[dict[str, Any]]] = {}
    for line in json.loads(done.stdout)["checks"]:
        lines.setdefault(line["check"], []).append(line)
    worst = {"failed": 2, "warning": 1}
    assert done.returncode == max(worst.get(line["outcome"], 0) for rows in lines.values() for line in rows)
    return lines


def outcomes(lines: dict[str, list[dict[str, Any]]]) -> dict[str, set[str]]:
    return {check: {line["outcome"] for line in rows} - {"untested"} for check, rows in lines.items()}


def test_doctor_healthy_host(host: Host) -> None:
    """With an agent and a server nothing fails; the socket, the lock, the CA and the server are named."""
    host.write()
    host.make_certs()
    with host.agent():
        wait_until((host.certs / "client.root.crt").exists, "the agent has issued")
        with host.server() as server:
            wait_until(lambda: host.file("node")["proof"] == "served", "the server is verified")
            lines = doctor(host)
    told = outcomes(lines)
    fine = {check for check, found in told.items() if found == {"ok"}}
    assert fine >= {"configuration", "sandbox", "socket", "agent", "directory", "certificates", "cockroach", "CA"}
    assert any(f"pid {server.process.pid}" in line["message"] for line in lines["cockroach"])
    assert "failed" not in told["kernel"]
    assert lines["unit"][0]["outcome"] == "untested"


def test_doctor_names_what_is_wrong_with_its_remedy(host: Host) -> None:
    """No agent, a secret that is missing, a CA that does not answer: one line each; --offline asks no CA."""
    token = host.base / "token"
    host.write(house=BAO.format(token=token), authority='["house", "bao"]')
    host.once()
    lines = doctor(host)
    assert lines["socket"][0] == {
        "check": "socket",
        "outcome": "warning",
        "message": f"no agent answers at {host.base}/control.sock",
        "remedy": "systemctl start certagent",
    }
    assert any("cannot read authority.bao.token" in line["message"] for line in lines["CA"])
    assert any("authority.unusable" in line["message"] for line in lines["authorities"])
    token.write_text("s.token")
    token.chmod(0o600)
    failed = [line["message"] for line in doctor(host)["CA"] if line["outcome"] == "failed"]
    assert failed
    assert failed[0].startswith("bao (vault): reachable: ")
    assert {line["outcome"] for line in doctor(host, "--offline")["CA"]} == {"untested"}


def test_doctor_another_agent_holds_the_directory(host: Host) -> None:
    """An agent with another state directory manages it: its pid, and that one of the two must stop."""
    host.write()
    host.make_certs()
    with host.agent() as other:
        assert other.process
        wait_until((host.certs / ".certagent" / "lock").exists, "it has locked the directory")
        host.config = host.base / "second.toml"
        host.config.write_text(
            (host.base / "config.toml").read_text().replace("/state'", "/state2'").replace("control.sock", "2.sock")
        )
        lines = doctor(host, "--offline")
    assert [(line["outcome"], f"(pid {other.process.pid})" in line["message"]) for line in lines["agent"]][:1] == [
        ("failed", True)
    ]


def test_doctor_agent_that_a_timer_runs(host: Host) -> None:
    """resident = false: neither a unit nor an answer is expected, and nothing about them is wrong."""
    host.write(agent="resident = false")
    host.once()
    lines = doctor(host, "--offline")
    assert [lines[check][0]["outcome"] for check in ("unit", "socket")] == ["untested", "untested"]
    assert not any("agent.down" in line["message"] for rows in lines.values() for line in rows)


def test_doctor_mistake_in_configuration(host: Host) -> None:
    """Every mistake is a line; what needs no configuration is examined regardless."""
    host.config.write_text(host.config.read_text().replace("rescan", "rescam").replace("'local'", "'locl'"))
    lines = doctor(host)
    assert {line["outcome"] for line in lines["configuration"]} == {"failed"}
    assert len(lines["configuration"]) >= 2
    assert {"clock", "kernel"} <= set(lines)


def test_doctor_spares_what_a_test_would_use_up(host: Host) -> None:
    """An ACME account, a one-time token and people are not asked; the command that asks them is named."""
    acme = '[authority.acme]\ntype = "acme"\ndirectory_url = "https://127.0.0.1:1/d"\nterms_accepted = true\n'
    step = '[authority.step]\ntype = "step"\nurl = "https://127.0.0.1:1"\nprovisioner = "p"\n'
    step += 'one_time_token = "/t"\nrenewal = "live"\n'
    people = f'[authority.people]\ntype = "dropbox"\noutbox = "{host.base}/out"\ninbox = "{host.base}/in"\n'
    host.write(house=acme + step + people, authority='["acme", "step", "people"]')
    host.make_certs()
    lines = doctor(host)["CA"]
    assert [(line["outcome"], line["remedy"]) for line in lines] == [
        ("untested", f"certagent authority test {name}") for name in ("acme", "people", "step")
    ]


@pytest.fixture
def shared() -> Iterator[Host]:
    """A host whose directories other users may enter."""
    made = Host(open_tmp())
    yield made
    shutil.rmtree(made.base)


@pytest.mark.root
def test_doctor_of_root_examines_as_the_agents_user(shared: Host) -> None:
    """A directory and a secret of root's are named for the agent's user, who may not use them."""
    token = shared.base / "token"
    token.write_text("s.token")
    token.chmod(0o600)
    shared.write(house=BAO.format(token=token), authority='"bao"', owner='"www-data"')
    shared.make_certs()
    shared.certs.chmod(0o755)
    state = shared.base / "state"
    state.mkdir(mode=0o700)
    os.chown(state, pwd.getpwnam("www-data").pw_uid, -1)
    lines = doctor(shared)
    denied = [line["message"] for line in lines["sandbox"]]
    assert f"authority.bao.token: the agent's user may not read {token}" in denied
    wrong = [line for line in lines["directory"] if line["outcome"] == "failed"]
    assert wrong[0]["remedy"] == f"chown www-data {shared.certs}"
    assert [line["outcome"] for line in lines["CA"]] == ["untested"]


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_doctor_of_root_makes_nothing_where_others_may_write(shared: Host, mode: int) -> None:
    """Whoever may rename in the directory above could have root empty a file elsewhere."""
    shared.write(owner='"root"')
    shared.make_certs()
    shared.base.chmod(mode)
    os.utime(shared.base, (1, 1))
    lines = doctor(shared)
    assert "kernel" in lines
    assert (shared.base.stat().st_mtime == 1) is (mode != 0o755)


def test_doctor_prints_a_line_at_a_time(host: Host) -> None:
    """For people: a mark, what it is about, what was found and what to do, in one line each."""
    host.make_certs()
    done = looked("doctor", "--offline", "-c", str(host.config))
    assert all(line.startswith(("ok      ", "WARNING ", "FAILED  ", "-       ")) for line in done.stdout.splitlines())
    assert (
        f"WARNING socket        no agent answers at {host.base}/control.sock; systemctl start certagent" in done.stdout
    )
