"""What an operator asks of the daemon and of a CA: for whom it is, whether it can be. Values in, values out."""

import tomllib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from certagent import x509
from certagent.agent.commands import addressed, possible
from certagent.certs_dir import system_roots
from certagent.certs_dir.verify import TrustStore
from certagent.config import build
from certagent.core.actions import Plan
from certagent.core.facts import ObserveOnly, Request, Why
from certagent.core.view import Planned
from certagent.keys import Key
from certagent.operations.acme_account import permitted
from certagent.operations.authority_test import StepError, accepted
from certagent.posix.errors import HostError
from tests.core.building import NOW, generation, policy, snapshot, want
from tests.making import keyed, make_ca

HERE = policy(want("ca"), want("node"), path="/here")
THERE = policy(want("ca"), want("node"), want("ui"), path="/there")


def asked(kind: Any, subject: str = "") -> Request:
    return Request(kind, subject, NOW)


ADDRESSED = [
    ("reload", "", "", ["/here", "/there"]),
    ("reload", "", "/there", ["/there"]),
    ("renew", "ui", "", ["/there"]),
    ("renew", "node", "/here", ["/here"]),
]


@pytest.mark.parametrize(("kind", "subject", "certs_dir", "paths"), ADDRESSED)
def test_command_directory_is_named_or_unambiguous(kind: str, subject: str, certs_dir: str, paths: list[str]) -> None:
    """Every certs directory, the named one, or the only one that has the file."""
    assert paths == addressed([HERE, THERE], asked(kind, subject), certs_dir)


NOBODY = [
    ("renew", "client.root", "", "cannot renew: client.root is not managed here"),
    ("renew", "ui", "/here", "cannot renew: ui is not managed in /here"),
    ("reload", "", "/elsewhere", "cannot reload: nothing is managed in /elsewhere"),
    ("rollback", "node", "", "cannot rollback node: several certs directories have it; add --certs-dir"),
]


@pytest.mark.parametrize(("kind", "subject", "certs_dir", "words"), NOBODY)
def test_command_directory_unknown_or_ambiguous_is_error(kind: str, subject: str, certs_dir: str, words: str) -> None:
    """No directory has it, or several have: an error that says so."""
    with pytest.raises(HostError, match=words):
        addressed([HERE, THERE], asked(kind, subject), certs_dir)


def last(**changes: Any) -> Planned:
    return Planned(policy=policy(), snapshot=snapshot(**changes), plan=Plan((), (), (), None))


def test_command_possible_is_accepted() -> None:
    """A renewal of a pair, and a rollback if there is a generation."""
    possible(last(), asked("renew", "node"))
    possible(last(generations=(generation(),)), asked("rollback", "node"))


@pytest.mark.parametrize(("kind", "subject", "words"), [
    ("renew", "ca", "a renewal never replaces a trust bundle"),
    ("rollback", "node", "there is no earlier pair that is still valid"),
])  # fmt: skip
def test_command_impossible_is_rejected(kind: str, subject: str, words: str) -> None:
    """The command ends with the reason instead of waiting."""
    with pytest.raises(HostError, match=words):
        possible(last(), asked(kind, subject))


def test_rollback_managed_by_another_agent_is_rejected() -> None:
    """The reason is the other agent, not that no earlier valid pair is kept."""
    held = replace(snapshot().directory, observe_only=ObserveOnly(Why.ANOTHER_AGENT, "pid 7"))
    with pytest.raises(HostError, match="cannot roll back node: another agent manages it: pid 7"):
        possible(last(generations=(generation(),), directory=held), asked("rollback", "node"))


def test_renew_with_authority_none_is_rejected() -> None:
    """If another tool rotates, a renewal is refused immediately."""
    unissued = policy(want("ca"), want(authorities=()))
    by_others = Planned(policy=unissued, snapshot=snapshot(), plan=Plan((), (), (), None))
    with pytest.raises(HostError, match="no authority is configured for it"):
        possible(by_others, asked("renew", "node"))


CONFIG = build("c.toml", tomllib.loads("""
[authority.public]
type = "acme"
directory_url = "https://ca.example.com/dir"
[authority.house]
type = "local"
directory = "/var/lib/certagent/ca"
[[certs_dir]]
path = "/certs"
owner = "root"
authority = "house"
"""))  # fmt: skip


@pytest.mark.parametrize("operation", ["rollover", "deactivate"])
def test_account_operations_of_acme(operation: str) -> None:
    """Of a type that keeps an account."""
    assert operation == permitted(CONFIG, "public", operation)


@pytest.mark.parametrize(("name", "operation", "words"), [
    ("public", "issue", "use one of rollover, deactivate"),
    ("house", "rollover", "'house': its type has no accounts; authorities with accounts: public"),
    ("pubic", "rollover", "'pubic': its type has no accounts; authorities with accounts: public"),
])  # fmt: skip
def test_account_operations_unknown_are_rejected(name: str, operation: str, words: str) -> None:
    """Another operation, another type, no such authority."""
    with pytest.raises(HostError, match=words):
        permitted(CONFIG, name, operation)


def now() -> datetime:
    return x509.parse_certificates(CERT)[0].not_before + timedelta(hours=25)  # the pair of a test began yesterday


CA, STRANGER = make_ca(), make_ca("stranger")
CERT, KEY = keyed(CA.pair(names=("localhost",)))
WANT = want("node", names=("localhost",))


def by(bundle: bytes) -> TrustStore:
    """A directory with that ca.crt alone."""
    return TrustStore(bundles={"ca": bundle}, roots=system_roots.load, split=False)


def test_trial_answer_installable() -> None:
    """The steps that are shown."""
    found = accepted(WANT, CERT, KEY, by(CA.cert), now())
    assert (["DNS:localhost"], "ecdsa-p256") == (found["sans"], found["key"])


@pytest.mark.parametrize(("wanted", "chain", "key", "bundle", "step"), [
    (WANT, b"rubbish", KEY, CA.cert, "answer"),
    (WANT, CERT, KEY, STRANGER.cert, "chain"),
    (want("node", names=("elsewhere",)), CERT, KEY, CA.cert, "gate"),
    (WANT, CERT, keyed(CA.pair())[1], CA.cert, "gate"),
], ids=("no certificate", "another CA", "other names", "another key"))  # fmt: skip
def test_trial_answer_not_installable_names_step(wanted: Any, chain: bytes, key: Key, bundle: bytes, step: str) -> None:
    """The first step that fails: not a certificate, not trusted by the nodes, refused by the pre-install checks."""
    with pytest.raises(StepError) as caught:
        accepted(wanted, chain, key, by(bundle), now())
    assert step == caught.value.step
