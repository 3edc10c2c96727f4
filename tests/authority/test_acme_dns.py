"""dns-01: pebble looks into knot, which takes signed updates; a wildcard beside its base name, a CNAME, a hook."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from certagent import x509
from certagent.authority.backends.acme.dns01 import Hook
from certagent.authority.backends.acme.options import Options
from certagent.authority.errors import AuthorityError
from certagent.authority.messages import Issued
from tests.authority.asking import Client
from tests.servers.knot import Knot
from tests.servers.pebble import Pebble

pytestmark = [pytest.mark.real, pytest.mark.slow]
HOOK = """#!{python}
import subprocess, sys
verb, name, value = sys.argv[1:]
line = f'add {{name}}. 5 TXT "{{value}}"' if verb == "present" else f'del {{name}}. TXT "{{value}}"'
text = f"server 127.0.0.1 {port}\\nzone test.\\n{{line}}\\nsend\\n"
command = ["knsupdate", "-y", "hmac-sha256:acmekey:{secret}"]
done = subprocess.run(command, input=text, text=True, check=False, capture_output=True)
with open({log!r}, "a") as log:
    print(verb, name, file=log)
raise SystemExit(done.returncode)
"""


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Knot]:
    with Knot(tmp_path_factory.mktemp("knot")) as server:
        yield server


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory, knot: Knot) -> Iterator[Pebble]:
    with Pebble(tmp_path_factory.mktemp("pebble"), dns=knot.port) as server:
        yield server


def client_of(pebble: Pebble, knot: Knot, **options: object) -> Client:
    dns = {"challenge": "dns-01", "dns_server": f"127.0.0.1:{knot.port}", "dns_key_name": "acmekey"}
    client = Client(pebble.directory_url, pebble.ca.read_text(), {**dns, "terms_accepted": True, **options})
    client.secrets = {"dns_key": knot.secret}
    return client


def test_dns_challenge_wildcard_and_base_name_both_published(pebble: Pebble, knot: Knot) -> None:
    """Two values at one name, added by signed updates, in a zone found by query; both are gone afterwards."""
    answer = client_of(pebble, knot).ask("issue", ("n1.test", "*.n1.test"))
    assert isinstance(answer, Issued)
    assert {"n1.test", "*.n1.test"} == set(x509.parse_certificates(answer.chain.encode())[0].dns)
    assert [] == knot.ask("_acme-challenge.n1.test", "TXT")


def test_dns_challenge_cname_delegation_is_followed(pebble: Pebble, knot: Knot) -> None:
    """A CNAME at the challenge's name leads to another zone: the record is made there."""
    answer = client_of(pebble, knot).ask("issue", ("n2.test",))
    assert isinstance(answer, Issued)
    assert [] == knot.ask("n2.delegated.test", "TXT")


def test_dns_hook_presents_and_cleans_up(pebble: Pebble, knot: Knot, tmp_path: Path) -> None:
    """The hook is called to present and to clean up; an error names the exit code of one that fails."""
    hook, log = tmp_path / "hook", tmp_path / "log"
    hook.write_text(HOOK.format(python=sys.executable, port=knot.port, secret=knot.secret, log=str(log)))
    hook.chmod(0o700)
    client = client_of(pebble, knot, dns_server="", dns_hook=[str(hook)])
    assert isinstance(client.ask("issue", ("n1.test",)), Issued)
    assert ["present _acme-challenge.n1.test", "cleanup _acme-challenge.n1.test"] == log.read_text().splitlines()
    assert [] == knot.ask("_acme-challenge.n1.test", "TXT")
    with pytest.raises(AuthorityError, match="/bin/false present exited 1"):
        client_of(pebble, knot, dns_server="", dns_hook=["/bin/false"]).ask("issue", ("n1.test",))


@pytest.mark.parametrize(
    ("options", "key", "kind", "words"),
    [
        ({}, "bm90IHRoZSBrZXk=", "credentials", "TSIG"),
        ({"dns_key_name": ""}, "", "credentials", "update policy"),
        ({"dns_server": "127.0.0.1:9"}, None, "unreachable", "DNS server"),
        ({}, "?", "credentials", "base64"),
    ],
)
def test_dns_update_refused_names_who_can_act(
    pebble: Pebble, knot: Knot, options: dict[str, object], key: str | None, kind: str, words: str
) -> None:
    """A wrong key, an update without a key, an unreachable server: the error says who can act, without the key."""
    client = client_of(pebble, knot, **options)
    client.secrets = {"dns_key": knot.secret if key is None else key}
    with pytest.raises(AuthorityError, match=words) as caught:
        client.ask("issue", ("n1.test",))
    assert kind == caught.value.kind
    assert knot.secret not in str(caught.value)


def test_dns_hook_background_process_is_not_awaited(tmp_path: Path) -> None:
    """The hook's own exit counts: a process that it left behind with its outputs open is not waited for."""
    hook, left = tmp_path / "hook", tmp_path / "pid"
    hook.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {left}\n")
    hook.chmod(0o700)
    try:
        Hook(Options("", dns_hook=(str(hook),), patience=60)).present("n1.test", "token", "authorization")
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_dns_hook_stderr_is_quoted_only_on_failure(tmp_path: Path) -> None:
    """The exit code counts, whatever the hook writes to standard error (`set -x`); a failure quotes the end of it."""
    hook = tmp_path / "hook"
    hook.write_text("#!/bin/sh\nhead -c 200000 /dev/zero | tr '\\0' x >&2; echo >&2; echo last words >&2; exit $CODE\n")
    hook.chmod(0o700)
    hook.write_text(hook.read_text().replace("$CODE", "0"))
    Hook(Options("", dns_hook=(str(hook),), patience=60)).present("n1.test", "token", "authorization")
    hook.write_text(hook.read_text().replace("exit 0", "exit 1"))
    with pytest.raises(AuthorityError, match="last words"):
        Hook(Options("", dns_hook=(str(hook),), patience=60)).present("n1.test", "token", "authorization")


def test_dns_hook_endless_output_is_stopped() -> None:
    """A hook that prints without end is stopped, in bounded memory."""
    with pytest.raises(AuthorityError, match="more than 1048576 bytes"):
        Hook(Options("", dns_hook=("/usr/bin/yes",), patience=60)).present("n1.test", "token", "authorization")
