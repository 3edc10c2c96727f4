"""`certagent init` on hosts with real processes: what it prints is valid, adopts everything, and changes nothing."""

import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certagent.cli import main
from tests.documented import all_blocks
from tests.making import filled, make_ca, put
from tests.system.running import ME, Host, looked, open_tmp
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("usual_umask")]
NOTHING = {"adopt", "presume", "reload"}  # a file that changed in the moment of a process's start is loaded again
LAYOUTS = {
    "standard": {},
    "split-node": {"layout": '"split-node"'},
    "split-ca": {
        "layout": '"split-ca"',
        "client_authority": '"house"',
        "extra": "[certs_dir.file.ui]\nnames=['a.example']",
    },
    "tenant": {
        "layout": '"tenant"',
        "extra": "[certs_dir.file.ca-client-tenant]\n[certs_dir.file.'client-tenant.5']",
    },
}


def init(*words: str) -> Any:
    """The document of `certagent init --json`."""
    return json.loads(looked("init", *words, "--json").stdout)


def adopted(base: Path, text: str) -> Path:
    """The configuration as a file, with its state and its socket below a directory of the test."""
    document = re.sub(r"^(state_dir|socket) = .*$", "", text, flags=re.MULTILINE).replace("[agent]\n", "")
    file = base / "adopted.toml"
    file.write_text(f"[agent]\nstate_dir = '{base}/new'\nsocket = '{base}/new.sock'\n{document}")
    return file


def planned(file: Path) -> set[str]:
    """The actions that a first plan with this configuration has."""
    document = json.loads(looked("plan", "-c", str(file), "--json").stdout)
    return {a["action"] for d in document["certs_dirs"] for a in d["actions"]}


def tree(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """Everything in a directory, with modes and moments."""
    return {
        p.name: (p.stat().st_mode, p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in path.iterdir()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_init_adopts_each_layout(host: Host, layout: str) -> None:
    """`config check` accepts it, `plan` has nothing to do, `status` has no finding, and nothing was touched."""
    host.write(**LAYOUTS[layout])
    done = host.once()
    assert done.returncode in {0, 1}, [(f["code"], f["message"]) for f in host.status()["certs_dirs"][0]["findings"]]
    before = tree(host.certs)
    with host.server(command="mt start-sql" if layout == "tenant" else "start") as server:
        found = init("--certs-dir", str(host.certs))
        (made,) = found["configurations"]
        file = adopted(host.base, made["toml"])
        assert looked("config", "check", "-c", str(file)).returncode == 0
        assert looked("plan", "-c", str(file)).returncode == 0, looked("plan", "-c", str(file)).stdout
        status = json.loads(looked("status", "-c", str(file), "--json").stdout)
        found = [f["code"] for d in status["certs_dirs"] for f in d["findings"] if f["severity"] != "info"]
        assert found == ["agent.down"]
        assert str(server.process.pid) in made["toml"]
    assert tomllib.loads(made["toml"])["certs_dir"][0]["layout"] == layout
    assert made["user"] == ME
    assert before == tree(host.certs)


def test_init_finds_the_server_without_help(host: Host) -> None:
    """No option: the directory, the user and the addresses follow from the process; examples pass when uncommented."""
    host.write()
    host.once()
    with host.server() as server:
        text = next(c["toml"] for c in init()["configurations"] if str(host.certs) in c["certs_dirs"])
        assert f"127.0.0.1:{server.ports['sql']}" in text
    examples = re.sub(r"^# (?=\[authority|[a-z_]+ = )", "", text, flags=re.MULTILINE)
    file = adopted(host.base, examples)
    done = looked("config", "check", "-c", str(file))
    assert done.returncode == 1, "valid, but this host has none of the files"
    assert all("does not exist" in line or "there is no" in line for line in done.stderr.splitlines())
    assert len(tomllib.loads(examples)["authority"]) == 9


def test_init_write_never_replaces(host: Host) -> None:
    """0644, whole, in a directory that is made; a second time, and over a dangling link, nothing is written."""
    host.write()
    host.once()
    target = host.base / "etc" / "new.toml"
    words = ("init", "--certs-dir", str(host.certs), "--write")
    done = looked(*words, str(target))
    assert (done.returncode, f"wrote {target}" in done.stdout) == (0, True)
    assert f"certagent config check -c {target}" in done.stdout
    assert (stat.S_IMODE(target.stat().st_mode), target.stat().st_uid) == (0o644, os.geteuid())
    written = target.read_text()
    again = looked(*words, str(target))
    assert (again.returncode, "exists already" in again.stderr) == (1, True)
    link = host.base / "link.toml"
    link.symlink_to(host.base / "nowhere")
    assert looked(*words, str(link)).returncode == 1
    assert looked(*words, "/proc/no/such.toml").returncode == 1
    assert target.read_text() == written
    assert sorted(p.name for p in target.parent.iterdir()) == ["new.toml"]
    assert not (host.base / "nowhere").exists()


def test_init_without_server_says_what_it_looked_for(host: Host) -> None:
    """A directory that does not exist yet gets the standard configuration; a user of nobody's is a mistake."""
    (made,) = init("--certs-dir", str(host.certs), "--user", ME)["configurations"]
    assert f"install -d -m 0700 -o {ME} {host.certs}" in made["toml"]
    assert tomllib.loads(made["toml"])["certs_dir"][0]["owner"] == ME
    none = looked("init", "--owner", "nobody-runs-it", "--certs-dir", str(host.certs), "--user", ME)
    assert (none.returncode, "looked for: processes named cockroach" in none.stderr) == (1, True)
    assert main(["init", "--user", ME]) == 64
    odd = looked("init", "--certs-dir", str(host.certs), "--user", "no-such-user")
    assert (odd.returncode, "no user 'no-such-user'" in odd.stderr) == (1, True)


def test_init_insecure_server_is_named(host: Host) -> None:
    """It uses no certificates: there is nothing to adopt, and the reason is said."""
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'cockroach'); print(flush=True); input()"
    command = [sys.executable, "-c", code, "start", "--insecure", "--certs-dir", str(host.certs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        notes = init()["notes"]
        process.kill()
    assert f"pid {process.pid} (user {ME}) was started with --insecure: it uses no certificates" in notes


@pytest.fixture
def shared() -> Iterator[Host]:
    """A host whose directories other users may enter."""
    made = Host(open_tmp())
    yield made
    shutil.rmtree(made.base)


def given(path: Path, user: str, group: str = "", mode: int = 0o700) -> None:
    """A directory with all that is in it, in the hands of a user."""
    account = pwd.getpwnam(user)
    for one in (path, *path.iterdir()):
        os.chown(one, account.pw_uid, pwd.getpwnam(group or user).pw_gid)
    path.chmod(mode)


@pytest.mark.root
def test_init_two_owners_and_a_stranger(shared: Host) -> None:
    """One configuration for each owner, with its own unit; a stranger who names a directory gets none, and no say."""
    first, second = shared.base / "one", shared.base / "two"
    for path, user in ((first, "www-data"), (second, "daemon")):
        path.mkdir()
        filled(path, "node", "client.root")
        given(path, user)
    with (
        shared.server("a", user="www-data", certs=first),
        shared.server("b", user="daemon", certs=second),
    ):
        code = "import ctypes, os; os.setuid(65534); ctypes.CDLL(None).prctl(15, b'cockroach');"
        code += " ctypes.CDLL(None).prctl(4, 1); print(flush=True); input()"
        bare = ["--certs-dir", str(first), "--advertise-addr", 'x"\n[authority.evil]']
        command = [sys.executable, "-c", code, "start", *bare]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as stranger:
            assert stranger.stdout
            stranger.stdout.readline()
            found = init()
            stranger.kill()
        mine = {c["unit"]: c for c in found["configurations"] if {str(first), str(second)} & set(c["certs_dirs"])}
        assert {"certagent@www-data.service", "certagent@daemon.service"} == set(mine)
        text = mine["certagent@www-data.service"]["toml"]
        assert f"pid {stranger.pid} runs as nobody, not as www-data" in text
        assert set(tomllib.loads(text)["authority"]) == {"undecided"}
        one = init("--owner", "daemon")["configurations"]
        assert ([c["user"] for c in one], str(second) in one[0]["certs_dirs"]) == (["daemon"], True)
        both = looked("init", "--write", str(shared.base / "x.toml"))
        assert (both.returncode, "--owner" in both.stderr) == (64, True)
        file = adopted(shared.base, mine["certagent@daemon.service"]["toml"])
        assert planned(file) <= NOTHING


@pytest.mark.root
def test_init_does_not_give_a_common_directory_to_whoever_put_keys_there(shared: Host) -> None:
    """As /tmp: the configuration would say that it is to be given to that user."""
    shared.certs.mkdir()
    filled(shared.certs, "node")
    given(shared.certs, "www-data")
    os.chown(shared.certs, 0, 0)
    shared.certs.chmod(0o1777)
    with shared.server(user="www-data"):
        found = init()
    assert str(shared.certs) not in [d for c in found["configurations"] for d in c["certs_dirs"]]
    assert [note for note in found["notes"] if str(shared.certs) in note and "everybody may write it" in note]


@pytest.mark.root
def test_init_keys_of_root_for_a_group(shared: Host) -> None:
    """A directory that only root can write, keys root:GROUP 0640: the root agent, with that mode for new keys."""
    shared.certs.mkdir()
    filled(shared.certs, "node")
    given(shared.certs, "root", "www-data", 0o755)
    (shared.certs / "node.key").chmod(0o640)
    with shared.server(user="www-data"):
        (made,) = init("--certs-dir", str(shared.certs))["configurations"]
        assert made["unit"] == "certagent-root.service"
        table = tomllib.loads(made["toml"])["certs_dir"][0]
        assert (table["owner"], table["file"]["node"]) == ("root:www-data", {"key_mode": "0640"})
        file = adopted(shared.base, made["toml"])
        assert planned(file) <= NOTHING


@pytest.mark.root
def test_init_directory_of_root_with_keys_of_cockroach(shared: Host) -> None:
    """The agent of the keys' owner, and the command that gives it the directory."""
    shared.certs.mkdir()
    filled(shared.certs, "node")
    given(shared.certs, "www-data", mode=0o755)
    os.chown(shared.certs, 0, 0)
    with shared.server(user="www-data"):
        (made,) = init("--certs-dir", str(shared.certs))["configurations"]
        assert (made["user"], f"chown www-data {shared.certs}" in made["toml"]) == ("www-data", True)
        done = looked("config", "check", "-c", str(adopted(shared.base, made["toml"])))
        assert (done.returncode, f"chown www-data {shared.certs}" in done.stderr) == (1, True)


@pytest.mark.root
def test_kubernetes_volume_as_documented(shared: Host) -> None:
    """The configuration of docs/kubernetes.md on a volume as the kubelet makes it: observed, reloaded, verified.

    Its files are root's with the group of the process and mode 0440; nothing is wrong, and nothing is written there.
    """
    block = next(b.text for b in all_blocks() if b.page == "docs/kubernetes.md" and b.language == "toml")
    group = pwd.getpwnam("www-data").pw_gid
    ca = make_ca()
    for version in ("..1", "..2"):
        (shared.certs / version).mkdir(parents=True)
        (shared.certs / version / "ca.crt").write_bytes(ca.cert)
        put(shared.certs / version, "node", ca.pair("node"))
        (shared.certs / version).chmod(0o755)
        for file in (shared.certs / version).iterdir():
            os.chown(file, 0, group)
            file.chmod(0o440)
    shared.certs.chmod(0o755)
    (shared.certs / "..data").symlink_to("..1")
    for name in ("ca.crt", "node.crt", "node.key"):
        (shared.certs / name).symlink_to(f"..data/{name}")
    for was, now in (
        ("/cockroach/cockroach-certs", shared.certs),
        ('"/state', f'"{shared.base}'),
        ("cockroach", "www-data"),
    ):
        block = block.replace(was, str(now))
    shared.config.write_text(block.replace("www-data-certs", "cockroach-certs"))
    before = sorted(p.name for p in shared.certs.iterdir())
    with shared.server(user="www-data", flags=("--advertise-addr", "localhost")) as server, shared.agent():
        wait_until(lambda: shared.file("node")["proof"] == "served", "the volume is served")
        first = server.served()
        (shared.certs / "..new").symlink_to("..2")
        (shared.certs / "..new").rename(shared.certs / "..data")
        wait_until(
            lambda: server.served() != first and shared.file("node")["proof"] == "served", "the renewal is served"
        )

        def settled() -> bool:  # the new ca.crt, seen after the new node.crt, is a reload of its own
            found = {f["code"]: f["severity"] for f in shared.status()["certs_dirs"][0]["findings"]}
            return found == {"dir.foreign": "info"}

        wait_until(settled, "nothing is wrong")
    assert before == sorted(p.name for p in shared.certs.iterdir())


def test_init_volume_of_kubernetes(host: Host) -> None:
    """Links through ..data: the configuration says that certagent only observes, reloads and verifies there."""
    data = host.base / "volume"
    data.mkdir()
    filled(data, "node")
    host.certs.mkdir()
    (host.certs / "..data").symlink_to(data)
    for file in data.iterdir():
        (host.certs / file.name).symlink_to(f"..data/{file.name}")
    (made,) = init("--certs-dir", str(host.certs))["configurations"]
    assert "certagent writes nothing there" in made["toml"]
    assert made["drop_in"] == []
    assert looked("config", "check", "-c", str(adopted(host.base, made["toml"]))).returncode == 0


@pytest.mark.root
def test_init_root_agent_that_would_change_nothing(shared: Host) -> None:
    """Keys of root's in a directory that somebody else may write: init says what the root agent needs."""
    shared.certs.mkdir()
    filled(shared.certs, "node")
    given(shared.certs, "root", "www-data", 0o775)
    (shared.certs / "node.key").chmod(0o640)
    with shared.server(user="www-data"):
        (made,) = init("--certs-dir", str(shared.certs))["configurations"]
    assert made["user"] == "root"
    assert f"chmod go-w {shared.certs}" in made["toml"]


@pytest.mark.root
def test_init_server_in_a_container(shared: Host) -> None:
    """Its path leads to another directory out here: it is not adopted, and the note says where init must run."""
    inside = shared.base / "inside"
    inside.mkdir()
    filled(inside, "node")
    shared.certs.mkdir()
    prefix = ("unshare", "--mount", "sh", "-c", f'mount --bind {inside} {shared.certs} && exec "$@"', "sh")
    with shared.server(prefix=prefix) as server:
        found = init()
    (note,) = [note for note in found["notes"] if f"pid {server.process.pid} " in note]
    assert f"uses {shared.certs}, which is another directory, or none, outside its container" in note
    assert all(str(shared.certs) not in made["certs_dirs"] for made in found["configurations"])
