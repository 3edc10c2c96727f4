"""`certagent check` as a command: of a directory, of a running process, of a configuration."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from certagent.demo.launch import StandIn
from tests.making import filled, make_ca, put
from tests.system.running import Host, looked, open_tmp
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
SKIP = "COCKROACH_SKIP_KEY_PERMISSION_CHECK"


def check(*words: str, **environ: str) -> tuple[int, dict[str, Any]]:
    """Exit code and document; with an environment of its own it is a process of its own."""
    command = [sys.executable, "-m", "certagent", "check", *words, "--json"]
    options: dict[str, Any] = {"capture_output": True, "text": True, "env": os.environ | environ, "timeout": 60}
    found = subprocess.run(command, check=False, **options) if environ else looked(*command[3:])
    assert found.stdout, found.stderr
    return found.returncode, json.loads(found.stdout)


def accepted(document: dict[str, Any]) -> dict[str, bool]:
    return {f["name"]: f["accepted"] for f in document["files"]}


def codes(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(f["code"], f["file"]) for f in document["findings"]}


def custom(certs: Path) -> None:
    """A node whose certificate does not say `node`."""
    put(certs, "node", named(filled(certs, "client.root"), "custom"))


def named(ca: Any, common_name: str) -> tuple[bytes, bytes]:
    from datetime import UTC, datetime, timedelta

    from certagent import x509

    key = x509.generate_key("ecdsa-p256")
    csr = x509.make_csr(key, common_name, ("localhost", "127.0.0.1"))
    now = datetime.now(UTC)
    span = {"not_before": now, "not_after": now + timedelta(days=30)}
    return x509.sign_csr(csr, ca.cert, ca.key, server=True, client=True, **span), key


BREAKAGES: list[tuple[str, Callable[[Path], object], tuple[str, str], bool]] = [
    (
        "another's key",
        lambda d: put(d, "node", (make_ca().pair()[0], make_ca().pair()[1])),
        ("key.mismatch", "node.key"),
        True,
    ),
    ("another CA", lambda d: put(d, "node", make_ca().pair()), ("cert.untrusted", "node.crt"), True),
    (
        "a key in the certificate's file",
        lambda d: (d / "ui.crt").write_bytes((d / "ui.key").read_bytes() + (d / "ui.crt").read_bytes()),
        ("cert.unparsable", "ui.crt"),
        False,
    ),
    ("no names", lambda d: put(d, "node", filled(d).pair(names=())), ("cert.san", "node.crt"), True),
    ("no key", lambda d: (d / "node.key").unlink(), ("key.missing", "node.key"), False),
    ("no bundle", lambda d: (d / "ca.crt").unlink(), ("ca.missing", "ca.crt"), True),
    ("an empty bundle", lambda d: (d / "ca.crt").write_text(""), ("cert.empty", "ca.crt"), False),
    ("a strange name", lambda d: (d / "node.old.crt").write_text(""), ("name.unknown", "node.old.crt"), False),
    ("the CA's key", lambda d: (d / "ca.key").write_text("x"), ("ca.key-present", "ca.key"), True),
    (
        "a copy of the CA's key under another name",
        lambda d: (d / "backup.key").write_bytes(filled(d).key),
        ("ca.key-present", "backup.key"),
        True,
    ),
]


@pytest.mark.parametrize(("label", "breaks", "finding", "taken"), BREAKAGES, ids=[b[0] for b in BREAKAGES])
def test_check_directory_without_configuration(
    tmp_path: Path, label: str, breaks: Callable[[Path], object], finding: tuple[str, str], *, taken: bool
) -> None:
    """A valid directory exits 0; each defect is one finding, and the verdict is cockroach's, not ours."""
    certs = tmp_path / "certs"
    filled(certs, "node", "ui", "client.root")
    assert check("--certs-dir", str(certs))[0] == 0
    breaks(certs)
    code, document = check("--certs-dir", str(certs))
    assert finding in codes(document), label
    assert code == {"warning": 1, "critical": 2}[document["severity"]]
    name = finding[1].replace(".key", ".crt")
    assert accepted(document).get(name, True) == taken
    assert {"name", "role", "user", "accepted", "reason"} <= set(document["files"][0])


def test_check_pid_uses_flags_of_process(tmp_path: Path) -> None:
    """--pid: its directory, environment and principal map; the same directory alone is judged otherwise."""
    certs, place = tmp_path / "certs", tmp_path / "server"
    custom(certs)
    place.mkdir()
    (certs / "client.root.key").chmod(0o644)
    flags = ["--cert-principal-map=custom:node"]
    with StandIn(str(certs), str(place), environ={SKIP: "true"}, flags=flags) as server:
        code, document = check("--pid", str(server.process.pid))
    assert accepted(document) == {"ca.crt": True, "client.root.crt": True, "node.crt": True}
    assert document["certs_dir"] == str(certs)
    assert (code, codes(document)) == (1, {("key.mode", "client.root.key")})
    _, alone = check("--certs-dir", str(certs))
    assert accepted(alone) == {"ca.crt": True, "client.root.crt": False, "node.crt": True}
    assert ("cert.principal", "node.crt") in codes(alone)
    assert "up to 24.1" in alone["start"]["reason"]
    _, old = check("--certs-dir", str(certs), "--release", "24.1")
    assert accepted(old) == {"ca.crt": True, "client.root.crt": False, "node.crt": False}
    _, told = check("--certs-dir", str(certs), *flags, **{SKIP: "true"})
    assert accepted(told) == accepted(document)


SLEEPER = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'cockroach'); print(flush=True); sys.stdin.read()"


def test_check_pid_relative_directory_in_its_cwd(tmp_path: Path) -> None:
    """`--certs-dir=certs` is below the process's cwd; ${NAME} is the process's own variable."""
    filled(tmp_path / "certs")
    words = [sys.executable, "-c", SLEEPER, "start", "--certs-dir=${WHERE}", "--advertise-addr=localhost"]
    environ = os.environ | {"WHERE": "certs"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, cwd=tmp_path, env=environ, **pipes) as process:
        assert process.stdout is not None
        process.stdout.readline()
        code, document = check("--pid", str(process.pid))
        process.communicate(b"")
    assert (code, document["certs_dir"]) == (0, str(tmp_path / "certs"))


@pytest.mark.root
def test_check_pid_in_another_root() -> None:
    """Its paths and its links are resolved in its own root, with its user's rights."""
    base = open_tmp()
    certs = base / "etc" / "certs"
    certs.mkdir(parents=True)
    filled(certs)
    nobody = pwd.getpwnam("nobody")
    (base / "key").write_bytes((certs / "node.key").read_bytes())
    (base / "key").chmod(0o600)
    (certs / "node.key").unlink()
    (certs / "node.key").symlink_to("/key")
    for path in (certs, base / "key"):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    body = (
        f"import os, sys; os.chroot({str(base)!r}); os.chdir('/etc'); os.setgid({nobody.pw_gid}); os.setgroups([]);"
        f"os.setuid({nobody.pw_uid}); print(flush=True); sys.stdin.read()"
    )
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", body, "start", "--certs-dir=certs", "--advertise-addr=localhost"], **pipes
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        code, document = check("--pid", str(process.pid))
        os.chown(base / "key", 0, 0)
        _, stolen = check("--pid", str(process.pid))
        process.communicate(b"")
    assert (code, document["certs_dir"], document["user"]) == (0, "/etc/certs", "nobody")
    assert accepted(document) == {"ca.crt": True, "node.crt": True}
    assert accepted(stolen) == {"ca.crt": True, "node.crt": False}


@pytest.mark.root
def test_check_names_the_directory_that_the_user_may_not_enter() -> None:
    """Root looks with the rights of the user, and says which part of the path lacks the search permission."""
    certs = open_tmp() / "part" / "certs"
    certs.mkdir(parents=True)
    filled(certs)
    certs.parent.chmod(0o700)
    code, document = check("--certs-dir", str(certs), "--user", "nobody")
    assert code == 2
    assert f"nobody may not enter {certs.parent} (owner root, mode 0700)" in document["start"]["reason"]
    assert [(f["code"], f["remedy"]) for f in document["findings"]] == [("dir.missing", f"chmod o+x {certs.parent}")]


@pytest.mark.root
def test_check_user_rights_are_used() -> None:
    """Root acts as the user: a key that only root can read is refused, as cockroach's own read would be."""
    base = open_tmp()
    certs = base / "certs"
    filled(certs)
    certs.chmod(0o755)
    code, document = check("--certs-dir", str(certs), "--user", "nobody")
    assert (code, accepted(document)) == (2, {"ca.crt": True, "node.crt": False})
    assert "denied" in next(f["reason"] for f in document["files"] if not f["accepted"])
    [remedy] = [f["remedy"] for f in document["findings"] if f["code"] == "key.irregular"]
    nobody = pwd.getpwnam("nobody")
    assert remedy == f"chown {nobody.pw_uid}:{nobody.pw_gid} {certs}/node.key"


USAGE = [
    ["--pid", "1", "--certs-dir", "/x"],
    ["--pid", "999999999"],
    ["--pid", "0"],
    ["--pid", "-1"],
    ["--pid", "x"],
    ["--user", "root"],
    ["--certs-dir", "/", "--user", "no-such-user"],
    ["-c", "/nowhere.toml"],
    ["--certs-dir", "/", "--user", "root", "--cert-principal-map", "a:b,node"],
    ["--certs-dir", "/", "--user", "root", "--node-cert-distinguished-name", "node"],
]


@pytest.mark.parametrize("words", USAGE, ids=[" ".join(w) for w in USAGE])
def test_check_usage_error_exits_64(words: list[str]) -> None:
    """Mistakes exit 64 with a reason on stderr."""
    found = looked("check", *words)
    assert (found.returncode, found.stdout) == (64, "")
    assert found.stderr


def test_check_file_in_place_of_directory(tmp_path: Path) -> None:
    """It exists, and is not a directory: the finding says so, without the advice to make one over it."""
    filled(tmp_path)
    code, document = check("--certs-dir", str(tmp_path / "ca.crt"), "--user", "root")
    [found] = document["findings"]
    assert (code, found["code"], found["remedy"]) == (2, "dir.missing", "configure the directory itself")
    assert found["message"].endswith("ca.crt cannot be read: Not a directory")


def test_check_escape_sequence_in_name_is_removed(tmp_path: Path) -> None:
    """A file's name with an escape sequence in it is printed without it."""
    filled(tmp_path)
    (tmp_path / "client.\x1b[31mred.crt").write_text("x")
    (tmp_path / os.fsdecode(b"client.\xff.crt")).write_text("x")
    command = [sys.executable, "-m", "certagent", "check", "--certs-dir", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, check=False)
    assert found.returncode == 2
    assert b"\x1b" not in found.stdout
    assert check("--certs-dir", str(tmp_path))[0] == 2


def test_status_uses_flags_of_process(tmp_path: Path) -> None:
    """A node without `node` in its certificate, served with a principal map: no critical finding of the daemon's."""
    host = Host(tmp_path)
    host.write(authority='"nobody"', extra="[authority.nobody]\ntype = 'none'", clients="[]")
    custom(host.certs)
    assert "cert.principal" in host.codes()
    with host.server(flags=["--cert-principal-map=custom:node"]):
        wait_until(lambda: "cert.principal" not in host.codes(), "the process is seen")
        assert "cert.principal" not in {f["code"] for f in host.json("check")["findings"]}


def test_check_directory_of_clients_is_a_warning(tmp_path: Path) -> None:
    """Client pairs and no `node`: a warning, no more, and nothing about a key that is not needed."""
    filled(tmp_path, "client.root")
    for name in ("node.crt", "node.key"):
        (tmp_path / name).unlink(missing_ok=True)
    code, document = check("--certs-dir", str(tmp_path))
    assert (code, codes(document)) == (1, {("cert.missing", "node.crt")})
