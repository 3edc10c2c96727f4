"""A step-ca that gets a new root at the same address: what pins it, what is refused, and that nobody notices."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from certagent.demo.stream import Stream
from certagent.x509 import parse_certificates
from tests.servers.stepca import StepCa
from tests.system.running import Agent, Host
from tests.system.test_none import served
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.real]


class Changing:
    """A host whose step-ca is replaced by one with a new root."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.old = StepCa(host.base / "old-ca")
        self.new = StepCa(host.base / "new-ca", instead_of=self.old)
        self.both = self._file("both.pem", self.old.root + self.new.root)

    def _file(self, name: str, text: str) -> Path:
        path = self.host.base / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def configure(self, *pinned: StepCa, endpoint: tuple[StepCa, ...] = ()) -> None:
        """`pinned`: whose root `issuing_roots` holds; `endpoint`: whose `root` has, the same ones by default."""
        roots = self._file("issuing.pem", "".join(ca.root for ca in pinned))
        key = self._file("provisioner_key", self.old.provisioner_key)
        marks = ", ".join(f'"{ca.fingerprint}"' for ca in endpoint or pinned)
        table = f'[authority.pki]\ntype = "step"\nurl = "{self.old.url}"\nroot = [{marks}]\nprovisioner = "jwk"'
        table += f'\nprovisioner_key = "{key}"\nissuing_roots = "{roots}"'
        self.host.write(house=table, authority='"pki"')

    @contextmanager
    def running(self) -> Iterator[tuple[Any, Stream]]:
        """A server on the directory, and new connections all the time, of a client that knows both roots."""
        pair = tuple(self.host.base / f"client.{end}" for end in ("crt", "key"))
        for path, end in zip(pair, ("crt", "key"), strict=True):
            path.write_bytes((self.host.certs / f"client.root.{end}").read_bytes())
            path.chmod(0o600)
        with self.host.server() as server:
            stream = Stream(server, str(self.both), (str(pair[0]), str(pair[1])))
            try:
                yield server, stream
            finally:
                stream.stop()

    def issuer(self, stem: str = "node") -> StepCa:
        """Whose certificate is live: each CA has an intermediate of its own."""
        sent = parse_certificates((self.host.certs / f"{stem}.crt").read_bytes())[-1]
        middle = parse_certificates((self.new.directory / "int.crt").read_bytes())[0]
        return self.new if sent.fingerprint == middle.fingerprint else self.old


def refusals(host: Host) -> list[dict[str, Any]]:
    attempts = host.json("history", "--limit", "1000")["attempts"]
    return [a for a in attempts if a["subject"] == "node" and a["outcome"] == "refused"]


def test_step_ca_new_root_is_taken_while_both_are_pinned(host: Host) -> None:
    """Both roots are pinned beforehand, so the new CA's answer is taken; the old pin is removed, and it goes on."""
    made = Changing(host)
    made.configure(made.old, made.new)
    with made.old:
        done = host.once()
        assert done.returncode == 0, done.stdout
    assert len(parse_certificates((host.certs / "ca.crt").read_bytes())) == 2
    with made.running() as (server, stream):
        with made.new, host.agent():
            served(host, server)
            assert host.run("renew", "node").returncode == 0
            assert (made.issuer(), server.served()) == (made.new, host.file("node")["fingerprint"])
        made.configure(made.new)
        with made.new, host.agent():
            for stem in ("client.root", "node"):
                done = host.run("renew", stem)
                assert done.returncode == 0, done.stdout + done.stderr
                assert made.issuer(stem) is made.new
            served(host, server)
            assert not {"renewal.refused", "authority.untrusted"} & host.codes()
        stream.stop()
        assert (stream.failures, len(stream.fingerprints) >= 3) == ([], True)


def test_step_ca_new_root_that_is_not_pinned_is_refused_for_a_day(host: Host) -> None:
    """`issuing_roots` and ca.crt have the old root alone: the answer is refused, and no other one is requested.

    The live pair stays in service; the finding names the root; after it was added to the bundle the answer is taken.
    """
    made = Changing(host)
    made.configure(made.old)
    with made.old:
        assert host.once().returncode == 0
    made.configure(made.old, endpoint=(made.old, made.new))
    with made.running() as (server, stream), made.new:
        with host.agent() as agent:
            served(host, server)
            before = server.served()
            asked = host.run("renew", "node", "--wait", "30")
            assert asked.returncode == 1, asked.stdout
            wait_until(lambda: refusals(host), "the answer was refused")
            _is_not_asked_again(host, agent)
            assert server.served() == before
        made.configure(made.old, made.new)
        bundle = host.certs / "ca.crt"
        bundle.with_suffix(".new").write_bytes(made.both.read_bytes())
        bundle.with_suffix(".new").rename(bundle)
        with host.agent():
            done = host.run("renew", "node", "--force")
            assert done.returncode == 0, done.stdout
            assert made.issuer() is made.new
            served(host, server)
        stream.stop()
        assert (stream.failures, stream.connections > 20) == ([], True)


def _is_not_asked_again(host: Host, agent: Agent) -> None:
    """A command without --force waits for the rest of the day as well, and says so; the finding says what to do."""
    asked = len(agent.events("issue.started"))
    told = host.run("renew", "node", "--wait", "2")
    assert (told.returncode, "`certagent renew node --force` does not wait" in told.stdout) == (1, True), told
    assert len(agent.events("issue.started")) == asked
    [refused] = refusals(host)
    assert "is not trusted by ca.crt" in refused["reason"]
    assert "renewal.refused" in host.codes()
