"""Two users, two processes, two directories: which agent serves them, and whom it signals."""

import grp
import importlib.util
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.making import filled
from tests.system.running import Host, looked, open_tmp
from tests.waiting import DEADLINE, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.root]
USERS = ("www-data", "daemon")  # not nobody: workers run as that one, and must not read a certs-dir
LIBRARIES = (
    "certagent",
    "cryptography",
    "cffi",
    "_cffi_backend",
    "watchdog",
    "apscheduler",
    "tzlocal",
    "psutil",
    "urllib3",
)

SECOND = """
[[certs_dir]]
path = "{path}"
owner = "root:{user}"
authority = "house"
names = ["localhost", "127.0.0.1"]
"""


@pytest.fixture
def shared() -> Iterator[Host]:
    """A host whose directories other users may enter."""
    made = Host(open_tmp())
    yield made
    shutil.rmtree(made.base)


def directory(host: Host, user: str) -> Path:
    made = host.base / user
    made.mkdir(mode=0o700)
    account = pwd.getpwnam(user)
    os.chown(made, account.pw_uid, account.pw_gid)
    return made


def for_group(host: Host, user: str) -> Path:
    """A directory that only root can write, for a server of that user's group."""
    made = host.base / f"for-{user}"
    made.mkdir(mode=0o750)
    os.chown(made, 0, pwd.getpwnam(user).pw_gid)
    return made


def kept(path: Path) -> dict[str, tuple[int, int, int]]:
    """What a write to any of the files would change."""
    return {
        str(p.relative_to(path)): (s.st_mode, s.st_ino, s.st_ctime_ns)
        for p in (path, *path.rglob("*"))
        if (s := p.lstat())
    }


def owners(path: Path) -> set[int]:
    return {p.lstat().st_uid for p in path.rglob("*")}


def test_sighup_only_to_server_of_the_group(shared: Host) -> None:
    """Root's agent, root's files: the receiver sees its own uid as the sender, the neighbour gets no signal.

    Nor does a process of the neighbour that calls itself cockroach and names the directory: it has no say at all.
    """
    first, second = (for_group(shared, user) for user in USERS)
    shared.certs = first
    shared.write(owner=f'"root:{USERS[0]}"', extra=SECOND.format(path=second, user=USERS[1]))
    assert shared.once().returncode == 0
    assert owners(first) == owners(second) == {0}
    with (
        shared.server("one", user=USERS[0], certs=first) as one,
        shared.server("two", user=USERS[1], certs=second) as two,
        stranger(f"--certs-dir={first}", user=USERS[1]) as intruder,
        shared.agent(),
    ):
        for path in (first, second):
            wait_until(lambda p=path: shared.file("node", p)["proof"] == "served", f"{path} is proven")
        assert shared.run("renew", "node", "--certs-dir", str(first)).returncode == 0
        reloads = [e for e in one.log() if e["event"] == "reload"]
        assert [(e["ok"], e["sender_uid"]) for e in reloads] == [(True, pwd.getpwnam(USERS[0]).pw_uid)]
        assert [e["event"] for e in two.log()] == ["started"]
        assert shared.file("node", first)["fingerprint"] == one.served() != two.served()
        found = {p["pid"]: p["state"] for d in shared.status()["certs_dirs"][:1] for p in d["processes"]}
        assert found == {one.process.pid: "serving", intruder: "forbidden"}
        assert [a["kind"] for a in shared.history("rollback")] == []


def test_renew_ambiguous_directory_is_refused(shared: Host) -> None:
    """`renew node` alone is refused if two directories have it; nothing is done."""
    first, second = (for_group(shared, user) for user in USERS)
    shared.certs = first
    shared.write(owner=f'"root:{USERS[0]}"', extra=SECOND.format(path=second, user=USERS[1]))
    shared.once()
    with shared.agent():
        refused = shared.run("renew", "node")
        assert refused.returncode == 1
        assert "--certs-dir" in refused.stderr
        assert [a for a in shared.history("issue") if "asked" in a["reason"]] == []


def test_key_root_group_0640_is_issued_and_kept(shared: Host) -> None:
    """root:group 0640, which cockroach accepts: issued so, left alone, and served by a process of that group."""
    shared.certs = certs = for_group(shared, USERS[0])
    group = pwd.getpwnam(USERS[0])
    shared.write(owner=f'"root:{grp.getgrgid(group.pw_gid).gr_name}"', clients="[]")
    assert shared.once().returncode == 0
    info = (certs / "node.key").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (0, group.pw_gid, 0o640)
    with shared.server(user=USERS[0], certs=certs) as server, shared.agent() as agent:
        assert shared.run("renew", "node").returncode == 0
        assert server.served() == shared.file("node")["fingerprint"]
        assert agent.events("mode.repaired") == []


LOCK = """
import fcntl, os, sys
os.setuid(int(sys.argv[2]))
os.mkdir(f"{sys.argv[1]}/.certagent", 0o700)
file = open(f"{sys.argv[1]}/.certagent/lock", "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(certs: Path, uid: int) -> Iterator[None]:
    """The owner of a directory holds the lock of its staging area, if the directory is its own."""
    if certs.stat().st_uid != uid:
        yield
        return
    words = [sys.executable, "-c", LOCK, str(certs), str(uid)]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"locked\n"
    yield
    holder.communicate()


def only_finding(host: Host) -> dict[str, str] | None:
    """The one finding of the first directory; None while there are others: a loaded machine stalls the agent."""
    findings = host.status()["certs_dirs"][0]["findings"]
    return findings[0] if len(findings) == 1 and findings[0]["code"] != "agent.stalled" else None


@pytest.mark.parametrize("parent", [False, True], ids=["directory", "parent"])
def test_root_leaves_directory_of_owner_alone(shared: Host, parent: bool) -> None:
    """One critical finding names the owner's unit; nothing is written, asked or signalled, and no command is taken.

    The owner holds the lock of the directory, and has given the name of a key to a file of root's: the agent starts,
    serves its own directory, and that file stays what it was.
    """
    certs, account = directory(shared, USERS[0]), pwd.getpwnam(USERS[0])
    filled(certs)
    for path in certs.iterdir():
        os.chown(path, account.pw_uid, account.pw_gid)
    if parent:  # the directory is root's, but its owner could replace it
        os.chown(certs, 0, 0)
        certs.chmod(0o755)
        home = shared.base / "home"
        home.mkdir()
        os.chown(home, account.pw_uid, account.pw_gid)
        certs = certs.rename(home / "certs")
    shared.certs, own = certs, for_group(shared, USERS[1])
    shared.write(owner=f'"{USERS[0]}"', extra=SECOND.format(path=own, user=USERS[1]))
    with shared.server(user=USERS[0], certs=certs) as server, locked(certs, account.pw_uid):
        (certs / "node.key").chmod(0o604)
        (certs / "stolen.key").write_text("root's own")
        (certs / "stolen.key").chmod(0o640)
        before = kept(certs)
        assert shared.once().returncode == 2
        with shared.agent() as agent:
            found = agent.wait_event(
                "finding.appeared", lambda e: (e["certs_dir"], e["code"]) == (str(certs), "dir.foreign")
            )
            told = wait_until(lambda: only_finding(shared), "the directory has one finding")
            wait_until(lambda: shared.file("node", own)["fingerprint"], "the other directory is served")
            assert (told["code"], told["severity"]) == ("dir.foreign", "critical")
            assert (
                f"/etc/certagent/{USERS[0]}.toml, then: systemctl enable --now certagent@{USERS[0]}" in told["remedy"]
            )
            assert "an agent that is root serves only what root alone can write" in found["reason"]
            for command in (("renew", "node"), ("rollback", "node"), ("reload",)):
                refused = shared.run(*command, "--certs-dir", str(certs))
                assert (refused.returncode, "root alone" in refused.stderr) == (1, True), refused.stderr
        assert [e["event"] for e in server.log()] == ["started"]
    assert kept(certs) == before
    warned = shared.run("config", "check")
    assert (warned.returncode, "path: an agent that is root serves only" in warned.stderr) == (1, True)


def test_root_who_looks_is_not_taken_for_the_agent(shared: Host) -> None:
    """While no agent runs, `status` and `plan` of root do not blame the owner's directory, which has a staging area."""
    shared.certs, account = directory(shared, USERS[0]), pwd.getpwnam(USERS[0])
    filled(shared.certs)
    (shared.certs / ".certagent").mkdir(mode=0o700)
    for path in shared.certs.iterdir():
        os.chown(path, account.pw_uid, account.pw_gid)
    shared.write(owner=f'"{USERS[0]}"')
    [told] = shared.status()["certs_dirs"]
    codes = {f["code"] for f in told["findings"]}
    assert ("agent.down" in codes, "dir.foreign" in codes) == (True, False)
    assert "dir.foreign" not in shared.run("plan").stdout


def test_root_who_looks_at_its_own_agents_directory_sees_what_that_sees(shared: Host) -> None:
    """Where root's agent has run, `status`, `plan` and `doctor` say without it what it says of another's directory.

    Root leaves it alone, so nothing is to be done there, and nothing is missing.
    """
    shared.certs = directory(shared, USERS[0])
    shared.write(owner=f'"{USERS[0]}"')
    assert shared.once().returncode == 2
    [told] = shared.status()["certs_dirs"]
    assert {f["code"] for f in told["findings"]} == {"agent.down", "dir.foreign"}
    [planned] = shared.json("plan")["certs_dirs"]
    assert (planned["actions"], {f["code"] for f in planned["findings"]}) == ([], {"agent.down", "dir.foreign"})
    examined = json.loads(looked("doctor", "--offline", "--json", "-c", str(shared.config)).stdout)["checks"]
    failed = [line["message"] for line in examined if (line["check"], line["outcome"]) == ("directory", "failed")]
    assert any("root alone can write" in line for line in failed), examined


def test_root_who_looks_believes_what_the_agent_believes(shared: Host) -> None:
    """A CA and a token of the agent's user are not blamed for being its own: `chown root` would break the agent."""
    account, token = pwd.getpwnam(USERS[0]), shared.base / "token"
    token.write_text("secret")
    token.chmod(0o600)
    extra = f"[authority.vault]\ntype = 'vault'\nurl = 'http://127.0.0.1:1'\nrole = 'r'\ntoken = '{token}'"
    shared.write(authority='["house", "vault"]', house=extra)
    done = shared.once()
    assert (shared.base / "ca" / "ca.key").exists(), done.stderr
    shared.write(owner=f'"{USERS[0]}"', authority='["house", "vault"]', house=extra)
    for path in (shared.base / "state", shared.base / "ca", shared.certs, token):
        subprocess.run(["chown", "-R", f"{account.pw_uid}:{account.pw_gid}", path], check=True)
    assert "authority.unusable" not in shared.codes()
    os.chown(token, pwd.getpwnam(USERS[1]).pw_uid, -1)
    assert "authority.unusable" in shared.codes()


def test_root_lets_go_of_directory_that_is_given_away(shared: Host) -> None:
    """Served until others can write it, from the next turn on no longer, and again once root alone can."""
    shared.write()
    shared.once()
    with shared.agent() as agent:
        shared.certs.chmod(0o770)
        os.chown(shared.certs, 0, pwd.getpwnam(USERS[0]).pw_gid)
        agent.wait_event("finding.appeared", lambda e: e["code"] == "dir.foreign")
        before = kept(shared.certs)
        (shared.base / "touched").touch()
        assert shared.run("renew", "node").returncode == 1
        assert kept(shared.certs) == before
        shared.certs.chmod(0o750)
        agent.wait_event("finding.cleared", lambda e: e["code"] == "dir.foreign")
        assert shared.run("renew", "node").returncode == 0


def reachable(base: Path, *more: str) -> dict[str, str]:
    """Copies of the program and its libraries, and of `more`, where any user may read them."""
    lib = base / "lib"
    lib.mkdir()
    for package in (*LIBRARIES, *more):
        found = importlib.util.find_spec(package)
        assert found is not None
        assert found.origin is not None
        origin = Path(found.origin)
        if origin.name.startswith("__init__"):
            shutil.copytree(origin.parent, lib / package, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(origin, lib / origin.name)
    for info in Path(sysconfig.get_path("purelib")).glob("[aA][pP]*eduler-*.dist-info"):
        shutil.copytree(info, lib / info.name)
    return {**os.environ, "PYTHONPATH": str(lib), "HOME": "/"}


STRANGER = "import ctypes, signal; ctypes.CDLL(None).prctl(15, b'cockroach'); print('on', flush=True); signal.pause()"


@contextmanager
def stranger(*words: str, user: str | None = None) -> Iterator[int]:
    """A process called cockroach, root's or a user's: SIGHUP would end it. Its insides are denied to others."""
    command = ["/usr/bin/python3", "-c", STRANGER, "start", *words]
    groups = None if user is None else []  # not ours: where the keys are of one of them, it would be a server
    group = None if user is None else pwd.getpwnam(user).pw_gid
    process = subprocess.Popen(command, stdout=subprocess.PIPE, user=user, group=group, extra_groups=groups)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        yield process.pid
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_unprivileged_agent_issues_and_reloads(shared: Host) -> None:
    """The default: one agent as the owner, without any capability; it issues, swaps, signals and verifies the same."""
    certs = directory(shared, USERS[0])
    shared.certs = certs
    account = pwd.getpwnam(USERS[0])
    shared.write(owner=f'"{USERS[0]}"')
    os.chown(shared.base, account.pw_uid, 0)
    environ = reachable(shared.base)
    drop = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups", "--inh-caps=-all"]
    program = [*drop, "/usr/bin/python3", "-m", "certagent", "run", "-c", str(shared.config)]
    subprocess.run([*program, "--once"], env=environ, cwd="/", check=True, capture_output=True, timeout=120)
    with (
        shared.server(user=USERS[0], certs=certs) as server,
        stranger("--certs-dir=/tmp"),
        stranger("--certs-dir=relative"),
        stranger(f"--certs-dir={certs}") as intruder,
    ):
        daemon = subprocess.Popen(program, env=environ, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: shared.json("status")["daemon"], "the daemon answers")
            wait_until(lambda: shared.file("node")["proof"] == "served", "proven")
            done = shared.run("renew", "node")
            assert (done.returncode, done.stderr) == (0, "")
            assert server.served() == shared.file("node")["fingerprint"]
            assert {e["sender_uid"] for e in server.log() if e["event"] == "reload"} == {account.pw_uid}
            found = shared.json("status")["certs_dirs"][0]["processes"]
            told = {(server.process.pid, "serving"), (intruder, "forbidden")}  # one is told, never signalled
            assert {(p["pid"], p["state"]) for p in found} == told
            look = subprocess.run([*drop, "cat", f"/proc/{daemon.pid}/environ"], capture_output=True, check=False)
            assert look.returncode != 0, "no other process of its user may look into the agent's memory"
        finally:
            daemon.terminate()
            daemon.wait(DEADLINE)
    assert owners(certs) == {account.pw_uid}


def test_unprivileged_user_without_daemon_gets_unknown(shared: Host) -> None:
    """What this user may not see is unknown, never empty, critical or done; each verb names the user to run it as."""
    shared.certs = for_group(shared, USERS[0])
    shared.write(owner=f'"root:{USERS[0]}"')
    assert shared.once().returncode == 0
    environ, account = reachable(shared.base), pwd.getpwnam(USERS[1])
    drop = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
    program = [*drop, "/usr/bin/python3", "-m", "certagent", "-c", str(shared.config)]
    for words, code in (("status", 3), ("status --json", 3), ("plan", 3), ("history", 3), ("recover", 2)):
        command = [*program, *words.split()]
        done = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False, timeout=120)
        told = done.stdout + done.stderr
        assert (code, True, True) == (done.returncode, "Permission denied" in told, "run this" in told), told


def test_directory_of_root_is_the_cause_of_what_is_missing(shared: Host) -> None:
    """Without an agent `plan` and `status` name what will prevent it, once, first, and nothing that it will not do."""
    user = pwd.getpwnam(USERS[0])
    shared.write(owner=f'"{USERS[0]}"', clients="[]")
    shared.certs.mkdir()
    shared.certs.chmod(0o755)
    (shared.base / "state").mkdir()
    os.chown(shared.base / "state", user.pw_uid, user.pw_gid)
    document = shared.json("plan")["certs_dirs"][0]
    assert document["actions"] == []
    [cause] = [f for f in document["findings"] if f["severity"] == "critical"]
    assert (cause["code"], cause["remedy"]) == ("dir.foreign", f"chown {USERS[0]} {shared.certs}")
    assert cause["message"].endswith("does not create ca.crt, node.crt")
    printed = looked("plan", "-c", str(shared.config))
    assert (printed.returncode, "critical dir.foreign" in printed.stdout) == (2, True)
    os.chown(shared.certs, user.pw_uid, user.pw_gid)
    assert {a["action"] for a in shared.json("plan")["certs_dirs"][0]["actions"]} >= {"issue"}
