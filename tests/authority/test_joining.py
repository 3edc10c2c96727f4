"""The first trust bundle of a host: every pinned root is in it, or there is none."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.agent.jobs.issue import Issuing
from certagent.authority.client import Remote
from certagent.authority.client.local import Embedded
from certagent.authority.errors import AuthorityError
from certagent.certs_dir.swap import Store
from certagent.config import LocalConfig
from certagent.config.remote import RemoteConfig
from certagent.core.actions import Issue
from certagent.events import Log
from certagent.sandbox.worker_process import Workers
from certagent.state.authority_state import AuthorityState
from certagent.state.ledger import Ledger
from tests.core.building import policy, want
from tests.making import DAY, Ca, make_ca
from tests.moments import now

OLD, NEW = make_ca("old root"), make_ca("new root")


def mark(ca: Ca) -> str:
    return x509.parse_certificates(ca.cert)[0].fingerprint


def people(path: Path, *shown: Ca, **pins: Any) -> Remote:
    """A CA whose inbox shows these roots."""
    inbox = path / "inbox"
    inbox.mkdir(mode=0o700, exist_ok=True)
    for place, ca in enumerate(shown):
        (inbox / f"root{place}.pem").write_bytes(ca.cert)
    options = {"inbox": str(inbox), "outbox": str(path / "outbox"), "remind": 60.0}
    config = replace(RemoteConfig("dropbox", options), **pins)
    return Remote("people", config, Workers(None), AuthorityState(str(path / "state")))


def subjects(bundle: bytes) -> set[str]:
    return {c.subject for c in x509.parse_certificates(bundle)}


BOTH = {"CN=old root,O=Cockroach", "CN=new root,O=Cockroach"}


def test_every_fingerprint_is_in_it(tmp_path: Path) -> None:
    """An empty host joins in the middle of a rotation: its peers still serve the old root's certificates."""
    found = people(tmp_path, NEW, OLD, issuing_fingerprints=(mark(NEW), mark(OLD)))
    assert BOTH == subjects(found.bundle("/certs", "ca", now()))


def test_a_pinned_root_that_is_not_shown(tmp_path: Path) -> None:
    """The new root alone would cut the host off from every peer of the old one: there is no bundle, and it is said."""
    pins = (mark(NEW), mark(OLD))
    with pytest.raises(
        AuthorityError, match=f"lacks {mark(OLD)[:12]} of issuing_fingerprints; name a file .* in issuing_roots"
    ):
        people(tmp_path, NEW, issuing_fingerprints=pins).bundle("/certs", "ca", now())
    file = tmp_path / "old.pem"
    file.write_bytes(OLD.cert)
    found = people(tmp_path, NEW, issuing_fingerprints=pins, issuing_roots=str(file))
    assert BOTH == subjects(found.bundle("/certs", "ca", now()))


def test_the_pinned_roots_of_the_whole_fallback_order(tmp_path: Path) -> None:
    """Peers may have certificates of any authority of the order; one without a pin, or without a CA, adds nothing."""
    certs = tmp_path / "certs"
    certs.mkdir(mode=0o700)
    file = tmp_path / "old.pem"
    file.write_bytes(OLD.cert)
    authorities = {
        "first": people(tmp_path, NEW, issuing_fingerprints=(mark(NEW),)),
        "second": people(tmp_path, issuing_roots=str(file)),
        "unpinned": people(tmp_path),
        "none yet": Embedded(
            "none yet", LocalConfig(str(tmp_path / "ca"), True, DAY, DAY, "ecdsa-p256", "ca.crt", "ca.key", ("", ""))
        ),
    }
    wanted = want("ca", authorities=(*authorities, "gone"))
    log = Log(StringIO(), "json", now)
    ledger = Ledger.writing(str(tmp_path / "ledger.db"))
    issuing = Issuing(replace(policy(wanted), path=str(certs)), authorities, ledger, Store(str(certs)), log)
    issuing.issue(Issue(wanted, "first", (), False, "ca.crt is missing"))
    assert ["ok"] == [a.outcome for a in ledger.attempts(str(certs))]
    [staged] = Store(str(certs)).staged()
    assert BOTH == subjects(staged.cert)
    assert not (tmp_path / "ca").exists()
