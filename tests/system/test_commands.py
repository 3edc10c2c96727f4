"""The command line: exit codes and JSON are interfaces."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from certagent.control.client import ask
from certagent.posix.owner import name_of
from tests.making import make_ca, put
from tests.system.running import Host, open_tmp
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


def test_status_without_daemon_observes(host: Host) -> None:
    """It observes by itself: critical for a missing directory, then a warning, as no agent runs; no file is made."""
    assert host.run("status").returncode == 2
    assert not (host.base / "state").exists()
    host.once()
    document = host.json("status")
    assert (document["version"], document["daemon"], document["severity"]) == (1, None, "warning")
    assert {f["code"] for f in document["certs_dirs"][0]["findings"]} == {"agent.down", "process.none"}
    assert {"path", "severity", "findings", "files", "processes", "next"} <= set(document["certs_dirs"][0])
    assert {
        "name",
        "fingerprint",
        "not_before",
        "not_after",
        "subject",
        "issuer",
        "sans",
        "authority",
        "renew_at",
    } <= set(host.file("node"))
    assert host.run("status").returncode == 1


def test_status_with_daemon(host: Host) -> None:
    """It answers from the daemon's socket, and names its pid."""
    host.once()
    with host.agent() as agent:
        assert agent.process is not None
        document = host.json("status")
        assert document["daemon"]["pid"] == agent.process.pid
        assert document["certs_dirs"][0]["next"]["action"] == "issue"
        assert "embedded CA" in host.run("status").stdout


def test_status_before_first_reconcile_waits(host: Host) -> None:
    """A query before the first reconcile waits for it: no host without certs directories is shown as ok."""
    host.once()
    with host.agent():
        document = ask(str(host.base / "control.sock"), "status", {}, 30.0)["document"]
        assert [str(host.certs)] == [d["path"] for d in document["certs_dirs"]]


def test_second_agent_exits_and_names_first(host: Host) -> None:
    """A second agent on the same state or certs directory exits at once: the first one's pid, its user, the remedy."""
    host.once()
    with host.agent() as agent:
        assert agent.process is not None
        second = host.run("run")
        assert second.returncode == 3
        first = f"another certagent (pid {agent.process.pid}, which runs as {name_of(os.geteuid())}) already manages"
        other = "stop one of the two, or set another agent.state_dir"
        assert second.stderr == f"certagent: {first} {host.base}/state; {other}\n"
        host.config = host.base / "second.toml"
        text = (host.base / "config.toml").read_text()
        host.config.write_text(text.replace("/state'", "/state2'").replace("control.sock", "2.sock"))
        other = "stop one of the two, or remove the directory from one configuration"
        assert host.run("run").stderr == f"certagent: {first} {host.certs}; {other}\n"
        host.config = host.base / "config.toml"
        assert "; the running agent recovers by itself" in host.run("recover").stdout
        retired = host.run("retire", str(host.certs))
        assert retired.returncode == 1
        assert str(agent.process.pid) in retired.stderr


def test_check_exit_by_worst_finding(host: Host) -> None:
    """cockroach's verdict on each file; exit 0, 2 by the worst finding; without any configuration."""
    host.once()
    document = host.json("check")
    assert [("ca.crt", "ca"), ("client.root.crt", "client"), ("node.crt", "node")] == [
        (f["name"], f["role"]) for f in document["files"]
    ]
    assert all(f["accepted"] for f in document["files"])
    os.chmod(host.certs / "node.key", 0o644)
    command = [sys.executable, "-m", "certagent", "check", "--certs-dir", str(host.certs)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert "0644" in found.stdout
    shutil.copy(host.certs / "client.root.key", host.certs / "node.key")
    found = subprocess.run([*command, "--user", "root"], capture_output=True, text=True, check=False)
    assert "key.mismatch" in found.stdout


def test_plan_prints_steps_and_does_none(host: Host) -> None:
    """Exit 2 with work to do, 0 when idle; it prints the steps that would follow, and does none of them."""
    host.make_certs()
    found = host.run("plan")
    assert found.returncode == 2
    assert "issue ca: ca.crt is missing" in found.stdout
    assert "then install node" in found.stdout
    assert os.listdir(host.certs) == []
    host.once()
    assert host.run("plan").returncode == 0


def test_plan_of_another_configuration(host: Host) -> None:
    """A changed copy of the file shows what it would do, while the daemon keeps its own, and nothing is done."""
    host.once()
    with host.agent():
        changed = host.base / "changed.toml"
        changed.write_text(host.config.read_text().replace('["root"]', '["root", "app"]'))
        before = sorted(os.listdir(host.certs))
        command = [sys.executable, "-m", "certagent", "plan", "-c", str(changed)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (shown.returncode, "issue client.app: client.app.crt is missing" in shown.stdout) == (2, True)
        assert host.run("plan").returncode == 0
        assert sorted(os.listdir(host.certs)) == before


def test_authority_test_of_another_configuration(host: Host) -> None:
    """The agent does not answer with its own CA of that name: the file of -c is tested, and no account is changed."""
    host.once()
    with host.agent():
        changed = host.base / "changed.toml"
        changed.write_text(re.sub("/ca'\ncreate = true", "/absent'", host.config.read_text()))
        command = [sys.executable, "-m", "certagent", "authority", "test", "house", "-c", str(changed)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (shown.returncode, "/absent" in shown.stdout) == (1, True), shown
        assert host.run("authority", "test", "house").returncode == 0
        other = host.base / "account.toml"
        other.write_text(host.config.read_text())
        words = [sys.executable, "-m", "certagent", "authority", "account", "house", "rollover", "-c", str(other)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=240)
        assert (done.returncode, f"the agent runs with {host.config}; name it by -c" in done.stderr) == (1, True)


def test_renew_rollback_reload_verified_exit_0(host: Host) -> None:
    """Done and verified is exit 0; each is in the history with the user who asked."""
    host.once()
    with host.server() as server, host.agent() as agent:
        wait_until(lambda: host.file("node")["proof"] == "served", "proven")
        first = server.served()
        assert host.run("renew", "node.crt").returncode == 0
        assert server.served() != first
        assert host.run("rollback", "node").returncode == 0
        assert server.served() == first
        assert host.run("reload").returncode == 0
        commands = [e["reason"].replace(":", " ").split()[0] for e in agent.events("command.received")]
        assert commands == ["renew", "rollback", "reload"]


def test_history_shows_reasons(host: Host) -> None:
    """Each issuance with its reason: it was missing, an operator asked, the configuration changed."""
    host.once()
    with host.agent() as agent:
        assert host.run("renew", "node").returncode == 0
        host.write(names='["localhost", "127.0.0.1", "db9.example.com"]')
        agent.wait_event("pair.installed", lambda e: e["file"] == "node", 2)
    told = [a["reason"] for a in host.history("issue") if (a["subject"], a["outcome"]) == ("node", "ok")][::-1]
    expected = ("node.crt is missing", "requested by an operator at", "lacks the configured names db9.example.com")
    assert [e in t for e, t in zip(expected, told, strict=True)] == [True] * len(expected), told
    assert "requested by an operator at" in host.run("history", "node").stdout


def test_command_refused_exits_1_without_daemon_3(host: Host) -> None:
    """An unmanaged pair, and one without a generation, is exit 1 with the reason; without a daemon 3."""
    host.once()
    assert host.run("renew", "node").returncode == 3
    with host.agent():
        unknown = host.run("renew", "client.nobody")
        assert unknown.returncode == 1
        assert "client.nobody is not managed here" in unknown.stderr
        bundle = host.run("renew", "ca")
        assert (bundle.returncode, bundle.stdout) == (1, "")
        assert "cannot renew ca: a renewal never replaces a trust bundle" in bundle.stderr
        back = host.run("rollback", "node")
        assert (back.returncode, back.stdout) == (1, "")
        assert "cannot roll back node: there is no earlier pair that is still valid" in back.stderr
        assert host.run("renew", "node").returncode == 0
        assert [r["kind"] for r in host.json("history", "node")["attempts"]].count("rollback") == 0


def test_renew_blocked_answers_immediately(host: Host) -> None:
    """A CA whose root is not in ca.crt: exit 1 with the reason, long before the command's timeout."""
    host.once()
    host.config.write_text(host.config.read_text().replace(f"{host.base}/ca'", f"{host.base}/another'"))
    other, directory = make_ca("another CA"), host.base / "another"
    directory.mkdir(mode=0o700)
    put(directory, "ca", (other.cert, other.key))
    with host.agent() as agent:
        held = host.run("renew", "node", "--wait", "300", timeout=240)
        assert held.returncode == 1
        assert "refused: requested by an operator" in held.stdout
        assert "ca.crt does not contain the root of" in held.stdout
        agent.wait_event("command.declined", lambda e: e["file"] == "node")
        host.write()  # the CA that is trusted: what was refused does not come now
        agent.wait_event("config.loaded")
        assert host.run("renew", "client.root").returncode == 0
        assert [a["outcome"] for a in host.history("command")] == ["refused"]
        assert [a["subject"] for a in host.history("issue")].count("node") == 1


@pytest.mark.parametrize("layout", ["client", "tenant"])
def test_check_layout_without_node(host: Host, layout: str) -> None:
    """A file that the configuration does not ask for is not required: no node.crt for a client or a SQL server."""
    host.write(layout=f'"{layout}"')
    host.once()
    told = host.run("check")
    assert (told.returncode, host.json("check")["findings"]) == (0, []), told.stdout


def test_status_without_daemon_verifies_in_one_pass(host: Host) -> None:
    """One pass is enough to report a served pair as verified, and only the document is printed."""
    host.once()
    with host.server():
        told = host.run("status")
    assert (told.returncode, told.stderr) == (1, ""), "no agent runs"
    assert "pending" not in told.stdout


def test_renew_bad_answer_is_refused(host: Host) -> None:
    """The CA signs with another key: the pre-install checks refuse it, with a reason; the live pair stays."""
    host.once()
    before = (host.certs / "node.crt").read_bytes()
    other = Host(host.base / "other")
    other.base.mkdir()
    other.write()
    other.once()
    ca = host.base / "ca"
    (ca / "ca.crt").write_bytes((ca / "ca.crt").read_bytes() + (other.base / "ca" / "ca.crt").read_bytes())
    shutil.copy(other.base / "ca" / "ca.key", ca / "ca.key")
    with host.agent() as agent:
        refused = host.run("renew", "node")
        assert refused.returncode == 1
        assert "not trusted by ca.crt" in refused.stdout
        assert agent.wait_event("pair.refused")["file"] == "node"
    kept = host.certs / ".certagent" / "refused"
    assert {"node.crt", "node.reason"} == {p.name for p in kept.iterdir()}
    assert (host.certs / "node.crt").read_bytes() == before


def test_recover_and_retire(host: Host) -> None:
    """`recover` repairs what a kill left; `retire` removes the staging area, and the keys only if asked."""
    host.once()
    assert host.run("recover").returncode == 0
    assert host.run("retire", str(host.certs)).returncode == 0
    assert not (host.certs / ".certagent").exists()
    assert (host.certs / "node.key").exists()
    assert host.run("retire", str(host.certs), "--remove-keys").returncode == 0
    assert list(host.certs.glob("*.key")) == []


def test_retire_after_directory_left_configuration(host: Host) -> None:
    """As operations.md says: the agent releases the directory, then its keys go, but a CA's; others are not touched."""
    host.once()
    (host.certs / "ca.key").write_text("somebody's")
    host.config.write_text(host.config.read_text().replace(f'"{host.certs}"', f'"{host.base}/another"'))
    done = host.run("retire", str(host.certs), "--remove-keys")
    assert (done.returncode, done.stdout) == (0, f"{host.certs}: retired\n")
    assert [p.name for p in host.certs.glob("*.key")] == ["ca.key"]
    assert not (host.certs / ".certagent").exists()
    again = host.run("retire", str(host.certs))
    assert (again.returncode, "is not managed" in again.stderr) == (64, True)


def test_sighup_reloads_configuration(host: Host) -> None:
    """ExecReload: SIGHUP to the agent does not stop it, and an unchanged file is in force again."""
    host.once()
    with host.agent() as agent:
        assert agent.process is not None
        before = len(agent.events("config.loaded"))
        agent.process.send_signal(signal.SIGHUP)
        agent.wait_event("config.loaded", count=before + 1)
        assert host.json("status")["daemon"]["pid"] == agent.process.pid


ASK = """
import os, sys
from certagent.control.client import DaemonSilent, ask
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for command in ("status", "renew"):
    try:
        answer = ask(sys.argv[1], command, {"file": "node"}, 20.0)
        print(command, answer["ok"], answer.get("code", ""))
    except DaemonSilent:
        print(command, "silent")
"""


@pytest.mark.root
@pytest.mark.parametrize(
    ("others", "said"),
    [("read-only", ["status True", "renew False forbidden"]), ("refuse", ["status silent", "renew silent"])],
)
def test_control_socket_of_other_users(others: str, said: list[str]) -> None:
    """By default another user may only read; with `socket_others = "refuse"` the socket is not even visible."""
    shared = Host(open_tmp())
    shared.write(agent=f"socket_others = '{others}'")
    shared.once()
    with shared.agent() as agent:
        socket = shared.base / "control.sock"
        assert socket.stat().st_mode & 0o777 == {"read-only": 0o666, "refuse": 0o600}[others]
        found = subprocess.run([sys.executable, "-c", ASK, str(socket)], capture_output=True, text=True, check=True)
        assert [line.strip() for line in found.stdout.splitlines()] == said
        assert agent.events("command.received") == []
        assert shared.run("renew", "node").returncode == 0  # root may
    shutil.rmtree(shared.base)


def test_json_of_every_verb(host: Host) -> None:
    """Each verb that knows --json prints one document of version 1, and nothing else."""
    host.once()
    for words in (
        ["status"],
        ["check"],
        ["plan"],
        ["history"],
        ["recover"],
        ["config", "check"],
        ["explain", "key.mode"],
    ):
        run = host.run if words[0] != "explain" else bare
        found = run(*words, "--json")
        assert json.loads(found.stdout)["version"] == 1, (words, found)


def bare(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "certagent", *words], capture_output=True, text=True, check=False)


USAGE = [["run", "--no-such"], ["nonsense"], ["renew"], ["explain", "no.such-code"], []]


@pytest.mark.parametrize("words", USAGE, ids=[" ".join(w) or "nothing" for w in USAGE])
def test_usage_errors_exit_64(words: list[str]) -> None:
    """Mistakes on the command line exit 64, with the reason on stderr or the help on stdout."""
    found = subprocess.run([sys.executable, "-m", "certagent", *words], capture_output=True, text=True, check=False)
    assert found.returncode == 64
    assert found.stderr or found.stdout


@pytest.mark.parametrize("verb", ["run", "status", "check", "plan", "history", "recover"])
def test_configuration_errors_exit_64(host: Host, verb: str) -> None:
    """Every verb exits 64 for a bad configuration, and prints all of its errors."""
    host.write(naems="1", layout='"x"')
    found = host.run(verb)
    assert found.returncode == 64
    assert "naems" in found.stderr
    assert "layout" in found.stderr


def test_config_check_and_explain(host: Host) -> None:
    """`config check` prints a summary; `explain` knows every code."""
    assert "ok" in host.run("config", "check").stdout
    command = [sys.executable, "-m", "certagent", "explain", "key.mismatch"]
    assert (
        "does not match the certificate" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )


def test_command_finds_process_started_a_moment_ago(host: Host) -> None:
    """Commands scan for processes themselves: a server that began since the last scan is never overlooked."""
    host.once()
    with host.agent() as agent:
        agent.wait_event("converged")
        nobody = host.run("reload")
        assert (nobody.returncode, "nothing to reload" in nobody.stdout) == (1, True), nobody
        with host.server() as first:
            renewed = host.run("renew", "node")
            assert (renewed.returncode, renewed.stdout.strip()) == (0, "renew node: verified: served"), renewed
            assert first.served() == host.file("node")["fingerprint"]
        with host.server() as second:
            assert host.run("reload").returncode == 0
            assert [e["ok"] for e in second.log() if e["event"] == "reload"] == [True]
