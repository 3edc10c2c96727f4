"""The worked examples of docs/examples: each script that can be tried here, against the real thing."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.authority.backends import command
from certagent.authority.backends.command import ask
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Answer, Issued, Roots
from certagent.config import build
from tests.authority.calling import context, key_and_csr, request
from tests.authority.documented import here
from tests.making import make_ca
from tests.servers.cmp import REFERENCE, CmpServer
from tests.servers.process import closed_port, missing, program
from tests.servers.scep import ScepServer
from tests.servers.sshd import Sshd

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
SCRIPTS = sorted(EXAMPLES.glob("*.sh"))
pytestmark = pytest.mark.slow


def answer(script: str, environment: dict[str, str], csr: bytes = b"", **changes: Any) -> Answer:
    given = context(timeout=changes.pop("timeout", 20.0), **changes.pop("secrets", {}))
    options = {"command": [str(EXAMPLES / f"command-{script}.sh")], "environment": environment}
    return ask(request("command", options, csr or key_and_csr()[1], **changes), given)


def failure(script: str, environment: dict[str, str], csr: bytes = b"", **changes: Any) -> AuthorityError:
    with pytest.raises(AuthorityError) as caught:
        answer(script, environment, csr, **changes)
    return caught.value


def leaf_of(found: Answer) -> Any:
    assert isinstance(found, Issued)
    return x509.parse_certificates(found.chain.encode())[0]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda p: p.name)
def test_example_scripts_pass_shellcheck(path: Path) -> None:
    """Each example parses, may be executed, and passes shellcheck where that is installed."""
    subprocess.run(["bash", "-n", path], check=True)
    assert path.stat().st_mode & 0o700 == 0o700, "the rest is the umask of whoever checked it out"
    if shutil.which("shellcheck") is None:
        missing("shellcheck", "apt-get install shellcheck, or tests/install")
    found = subprocess.run(["shellcheck", path], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


BLOCK = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
DOCUMENTED = [
    (name, text)
    for name in ("est", "command", "dropbox", "none")
    for text in BLOCK.findall((EXAMPLES.parent / "authorities" / f"{name}.md").read_text())
]


@pytest.mark.parametrize(("name", "text"), DOCUMENTED, ids=[f"{n}-{i}" for i, (n, _) in enumerate(DOCUMENTED)])
def test_example_configurations_are_valid(name: str, text: str) -> None:
    """Each configuration of docs/authorities is valid, and asks the authority that its page describes."""
    config = build(name, here(text))
    [(authority, found)] = config.authorities.items()
    asked = {a for want in config.policies[0].wants for a in want.authorities}
    assert (found.type, asked) == (name, set() if name == "none" else {authority})


def test_command_variables_are_documented() -> None:
    """Every variable that a program gets and every line that it may answer is documented."""
    text = (EXAMPLES.parent / "authorities" / "command.md").read_text()
    told = command._environ(request("command", {"command": ["/x"]}), context(), "/tmp")
    assert [name for name in told if f"`{name}`" not in text] == []
    assert [code for code in (0, command.PENDING, *command.KINDS) if f"| {code} |" not in text] == []


@pytest.fixture
def ca_dir(tmp_path: Path) -> Path:
    """A CA as `cockroach cert create-ca` leaves it, and the example's openssl.cnf."""
    ca = make_ca()
    (tmp_path / "ca.crt").write_bytes(ca.cert)
    (tmp_path / "ca.key").write_bytes(ca.key)
    shutil.copy(EXAMPLES / "openssl-ca.cnf", tmp_path / "openssl.cnf")
    return tmp_path


def verifies(found: Answer, root: Path, usage: x509.Usage = "server") -> str | None:
    assert isinstance(found, Issued)
    return x509.verify_chain(found.chain.encode(), root.read_bytes(), usage, datetime.now(UTC))


def test_openssl_ca_script_issues(ca_dir: Path) -> None:
    """`openssl ca`: names, usages and the lifetime asked for, to the second; its index grows; its roots."""
    where = {"CA_DIR": str(ca_dir)}
    key, csr = key_and_csr()
    found = answer("openssl-ca", where, csr, lifetime=3600.0)
    leaf = leaf_of(found)
    assert (leaf.spki, leaf.sans) == (x509.parse_key(key)[0], ("DNS:db1.example.com", "IP:10.0.0.5"))
    assert leaf.eku == ("serverAuth", "clientAuth")
    assert timedelta(minutes=59) < leaf.not_after - datetime.now(UTC) <= timedelta(hours=1)
    assert (verifies(found, ca_dir / "ca.crt"), verifies(found, ca_dir / "ca.crt", "client")) == (None, None)
    assert leaf_of(answer("openssl-ca", where)).serial != leaf.serial
    assert 2 == len((ca_dir / "index.txt").read_text().splitlines())
    roots = answer("openssl-ca", where, operation="roots")
    assert isinstance(roots, Roots)
    assert roots.pem.encode() == (ca_dir / "ca.crt").read_bytes()


def test_openssl_ca_script_refusals(ca_dir: Path) -> None:
    """A request outside the policy is refused, with openssl's own words; a missing key is a failure."""
    csr = ca_dir / "r.csr"
    asked = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", ca_dir / "k", "-out", csr]
    subprocess.run([*asked, "-subj", "/O=Others/CN=node"], check=True, capture_output=True)
    found = failure("openssl-ca", {"CA_DIR": str(ca_dir)}, csr.read_bytes())
    assert ("refused", True) == (found.kind, "organizationName" in str(found)), str(found)
    (ca_dir / "ca.key").unlink()
    assert "failed" == failure("openssl-ca", {"CA_DIR": str(ca_dir)}).kind
    assert "credentials" == failure("openssl-ca", {"CA_DIR": "/nowhere"}).kind


@pytest.fixture
def by_ssh(ca_dir: Path) -> Iterator[dict[str, str]]:
    """The settings of the ssh example; its sshd signs by a forced command, as the documentation has it."""
    sign = f"env CA_CERT={ca_dir}/ca.crt CA_KEY={ca_dir}/ca.key {EXAMPLES}/command-cockroach-sign.sh"
    base = ca_dir / "sshd"
    base.mkdir()
    with Sshd(base, sign) as server:
        yield {"CA_HOST": server.place, "SSH_KEY": str(server.key), "SSH_HOSTS": str(server.known_hosts)}


@pytest.mark.real
def test_ssh_script_issues_and_returns_roots(ca_dir: Path, by_ssh: dict[str, str]) -> None:
    """The CA's key on another host: the forced command signs, and answers for the roots."""
    key, csr = key_and_csr()
    found = answer("cockroach-ssh", by_ssh, csr, lifetime=86400.0)
    leaf = leaf_of(found)
    assert (leaf.spki, leaf.eku) == (x509.parse_key(key)[0], ("serverAuth", "clientAuth"))
    assert leaf.sans == ("DNS:db1.example.com", "IP:10.0.0.5")
    assert verifies(found, ca_dir / "ca.crt") is None
    roots = answer("cockroach-ssh", by_ssh, operation="roots")
    assert isinstance(roots, Roots)


REFUSED = [
    ("another name", {"names": ("db1.example.org",)}, "'db1.example.org' is not allowed"),
    ("another user", {"cn": "admin", "names": ()}, "'admin' is not allowed"),
    ("a hidden name", {"names": ("db1.example.com", "evil")}, "'evil' is not allowed"),
]


@pytest.mark.real
@pytest.mark.parametrize(("label", "asked", "words"), REFUSED, ids=[r[0] for r in REFUSED])
def test_ssh_script_name_not_allowed_by_ca_host_is_refused(
    by_ssh: dict[str, str], label: str, asked: dict[str, Any], words: str
) -> None:
    """Names that the CA's host does not allow are refused there, and the reason is reported here."""
    found = failure("cockroach-ssh", by_ssh, key_and_csr(**asked)[1])
    assert ("refused", True) == (found.kind, words in str(found)), (label, str(found))


@pytest.mark.real
def test_ssh_script_connection_failures(by_ssh: dict[str, str], tmp_path: Path) -> None:
    """A closed port: unreachable. A key that the server does not know, an unknown host key: credentials."""
    nowhere = {**by_ssh, "CA_HOST": f"ssh://127.0.0.1:{closed_port()}"}
    assert "unreachable" == failure("cockroach-ssh", nowhere).kind
    stranger = {**by_ssh, "SSH_KEY": by_ssh["SSH_KEY"].replace("key", "stranger")}
    assert "credentials" == failure("cockroach-ssh", stranger).kind
    (tmp_path / "none").touch()
    assert "credentials" == failure("cockroach-ssh", {**by_ssh, "SSH_HOSTS": str(tmp_path / "none")}).kind


@pytest.mark.real
def test_ssh_forced_command_only_signs(by_ssh: dict[str, str]) -> None:
    """The key of the forced command can ask it to sign, and nothing else."""
    options = ["-o", f"UserKnownHostsFile={by_ssh['SSH_HOSTS']}", "-i", by_ssh["SSH_KEY"], "-o", "BatchMode=yes"]
    for words in ("cat ca.key", "issue serverAuth 1; id", "issue $(id) 1", ""):
        done = subprocess.run(
            ["ssh", *options, by_ssh["CA_HOST"], *([words] if words else [])],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )
        assert (done.returncode, done.stdout) == (77, ""), (words, done.stderr)


@pytest.fixture(scope="module")
def cmp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CmpServer]:
    with CmpServer(tmp_path_factory.mktemp("cmp")) as running:
        yield running


def cmp_settings(server: CmpServer) -> dict[str, str]:
    return {"CMP_SERVER": server.address, "CMP_REF": REFERENCE, "CMP_TRUSTED": str(server.ca)}


@pytest.mark.real
def test_cmp_script_issues(cmp_server: CmpServer) -> None:
    """CMP against OpenSSL's own server: p10cr with a shared secret, and the answer is verified."""
    found = answer("cmp", cmp_settings(cmp_server), cmp_server.csr(), secrets={"secret": cmp_server.secret})
    assert leaf_of(found).spki == x509.parse_key(cmp_server.key)[0]
    assert verifies(found, cmp_server.ca) is None


@pytest.mark.real
def test_cmp_script_failures(cmp_server: CmpServer) -> None:
    """A wrong secret is credentials, a certificate of another key is refused, a closed port is unreachable."""
    settings, secret = cmp_settings(cmp_server), {"secret": cmp_server.secret}
    assert "credentials" == failure("cmp", settings, cmp_server.csr(), secrets={"secret": "wrong"}).kind
    other = failure("cmp", settings, key_and_csr()[1], secrets=secret)
    assert ("failed", True) == (other.kind, "does not match our enrollment key" in str(other)), str(other)
    nowhere = {**settings, "CMP_SERVER": f"127.0.0.1:{closed_port()}"}
    assert "unreachable" == failure("cmp", nowhere, cmp_server.csr(), secrets=secret, timeout=3.0).kind
    assert "refused" == failure("cmp", settings, operation="roots", secrets=secret).kind


@pytest.fixture(scope="module")
def scep_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScepServer]:
    with ScepServer(tmp_path_factory.mktemp("scep")) as running:
        yield running


def scep_csr(challenge: str) -> tuple[bytes, bytes]:
    key = x509.generate_key("rsa-2048")
    return key, x509.make_csr(key, "root", (), challenge)


@pytest.mark.real
def test_scep_script_issues(scep_server: ScepServer) -> None:
    """SCEP against scepserver: the request carries the challenge; the key stays, another one signs the message."""
    key, csr = scep_csr(scep_server.challenge)
    found = answer("scep", {"SCEP_URL": scep_server.url}, csr)
    leaf = leaf_of(found)
    assert (leaf.spki, leaf.common_names, leaf.eku) == (x509.parse_key(key)[0], ("root",), ("clientAuth",))
    assert verifies(found, scep_server.ca, "client") is None
    program("curl", "apt-get install -y curl")
    roots = answer("scep", {"SCEP_URL": scep_server.url}, operation="roots")
    assert isinstance(roots, Roots)
    assert x509.parse_certificates(roots.pem.encode()) == x509.parse_certificates(scep_server.ca.read_bytes())


@pytest.mark.real
def test_scep_script_failures(scep_server: ScepServer) -> None:
    """A wrong challenge is refused; a closed port is unreachable."""
    assert "refused" == failure("scep", {"SCEP_URL": scep_server.url}, scep_csr("wrong")[1]).kind
    nowhere = {"SCEP_URL": f"http://127.0.0.1:{closed_port()}/scep"}
    assert "unreachable" == failure("scep", nowhere, scep_csr("x")[1]).kind
