"""docs/authorities/vault.md on a real OpenBao: its commands set it up, and the host's side gets a certificate."""

import re
import subprocess
from hashlib import sha256
from pathlib import Path
from ssl import PEM_cert_to_DER_cert

import pytest

from tests.documented import Block, all_blocks
from tests.servers.openbao import binary
from tests.servers.process import Running, free_port, listens
from tests.system.running import ME, Host

pytestmark = [pytest.mark.slow, pytest.mark.real]
PAGE = [b for b in all_blocks() if b.page == "docs/authorities/vault.md"]


def first(language: str) -> Block:
    return next(b for b in PAGE if b.language == language)


@pytest.mark.usefixtures("usual_umask")
def test_documented_openbao_setup(host: Host, tmp_path: Path) -> None:
    """As written: every command succeeds, and `authority test` gets a certificate with the documented names."""
    port = free_port()
    (tmp_path / "cockroach-host.hcl").write_text(first("hcl").text)
    program = binary()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "bao").symlink_to(program)
    url = f"http://127.0.0.1:{port}"
    environ = {"BAO_ADDR": url, "BAO_TOKEN": "root", "HOME": str(tmp_path)}
    server = [program, "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
    server += ["-dev-no-store-token"]
    with Running(server, tmp_path / "bao.log", lambda: listens(port), environ=environ):

        def bash(commands: str) -> str:
            path = {**environ, "PATH": f"{tmp_path}/bin:/usr/bin:/bin"}
            words = ["bash", "-euo", "pipefail", "-c", commands]
            done = subprocess.run(
                words, cwd=tmp_path, env=path, capture_output=True, text=True, check=False, timeout=60
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        said = bash(first("sh").commands)
        for name in ("role_id", "secret_id"):
            found = re.search(rf"^{name} +(\S+)$", said, re.MULTILINE)
            assert found
            (host.base / name).write_text(found[1])
            (host.base / name).chmod(0o600)
        root = bash("bao read -field=certificate pki/cert/ca")  # as docs/authorities.md has it
        pin = sha256(PEM_cert_to_DER_cert(root)).hexdigest()
        text = re.sub(r"^tls_roots = .*\n", "", first("toml").text, flags=re.MULTILINE)
        for was, now in (
            ("https://vault.example.com:8200", url),
            ("/etc/certagent/role-id", f"{host.base}/role_id"),
            ("credential:secret-id", f"{host.base}/secret_id"),
            ("00112233445566778899aabbccddeeff" * 2, pin),
            ("/var/lib/cockroach/certs", str(host.certs)),
            ('"cockroach"\nauthority', f'"{ME}"\nauthority'),
        ):
            assert was in text
            text = text.replace(was, now)
        agent = f"[agent]\nstate_dir = '{host.base}/state'\nsocket = '{host.base}/control.sock'\n"
        host.config.write_text(agent + text)
        host.make_certs()
        document = host.json("authority", "test", "pki")
    assert document["ok"], [s for s in document["steps"] if s["outcome"] == "failed"]
    assert document["certificate"]["sans"] == ["DNS:db1.example.com", "IP:10.0.0.5"]
