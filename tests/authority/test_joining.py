"""The first trust bundle of a host: every pinned root is in it, or there is none."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from certagent import x509
from certagent.agent.jobs.issue import Issuing
from certagent.authority.client import CertificateAuthority, Order, Remote
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


def embedded(path: Path) -> Embedded:
    """A CA that may be made on its first use."""
    config = LocalConfig(str(path / "ca"), True, DAY, DAY, "ecdsa-p256", "ca.crt", "ca.key", ("", ""))
    return Embedded("house", config, AuthorityState(str(path / "state")))


def made(path: Path, authorities: Mapping[str, CertificateAuthority], action: Issue) -> tuple[Ledger, str]:
    """What an issuance leaves in the ledger and in the log."""
    certs, stream = str(path / "certs"), StringIO()
    ledger = Ledger.writing(str(path / "ledger.db"))
    rules = replace(policy(action.want), path=certs)
    Issuing(rules, authorities, ledger, Store(certs), Log(stream, "json", now)).issue(action)
    return ledger, stream.getvalue()


def order(certs: Path) -> Order:
    key = x509.generate_key("ecdsa-p256")
    return Order.of(str(certs), want(), ("localhost",), x509.make_csr(key, "node", ("localhost",)), b"")


def subjects(bundle: bytes) -> set[str]:
    return {c.subject for c in x509.parse_certificates(bundle)}


BOTH = {"CN=old root,O=Cockroach", "CN=new root,O=Cockroach"}


def test_bundle_from_all_pinned_roots_on_empty_host(tmp_path: Path) -> None:
    """An empty host joins in the middle of a rotation: its peers still serve the old root's certificates."""
    found = people(tmp_path, NEW, OLD, issuing_fingerprints=(mark(NEW), mark(OLD)))
    assert BOTH == subjects(found.bundle("/certs", "ca", now(), first=True))


@pytest.mark.usefixtures("usual_umask")
def test_bundle_pinned_root_missing_is_refused(tmp_path: Path) -> None:
    """The new root alone would not verify peers of the old one: no bundle is made, and the reason says so."""
    pins = (mark(NEW), mark(OLD))
    with pytest.raises(
        AuthorityError, match=f"lacks {mark(OLD)[:12]} of issuing_fingerprints; name a file .* in issuing_roots"
    ):
        people(tmp_path, NEW, issuing_fingerprints=pins).bundle("/certs", "ca", now(), first=True)
    file = tmp_path / "old.pem"
    file.write_bytes(OLD.cert)
    found = people(tmp_path, NEW, issuing_fingerprints=pins, issuing_roots=str(file))
    assert BOTH == subjects(found.bundle("/certs", "ca", now(), first=True))


@pytest.mark.usefixtures("usual_umask")
def test_bundle_pinned_roots_of_whole_fallback_order(tmp_path: Path) -> None:
    """Peers may have certificates of any authority of the order; one without a pin, or without a CA, adds nothing."""
    certs = tmp_path / "certs"
    certs.mkdir(mode=0o700)
    file = tmp_path / "old.pem"
    file.write_bytes(OLD.cert)
    authorities = {
        "first": people(tmp_path, NEW, issuing_fingerprints=(mark(NEW),)),
        "second": people(tmp_path, issuing_roots=str(file)),
        "unpinned": people(tmp_path),
        "none yet": embedded(tmp_path),
    }
    wanted = want("ca", authorities=(*authorities, "gone"))
    ledger, _ = made(tmp_path, authorities, Issue(wanted, "first", (), False, "ca.crt is missing"))
    assert ["ok"] == [a.outcome for a in ledger.attempts(str(certs))]
    [staged] = Store(str(certs)).staged()
    assert BOTH == subjects(staged.cert)
    assert not (tmp_path / "ca").exists()


FIRST = Issue(want("ca"), "house", (), False, "ca.crt is missing", first=True)


def test_embedded_ca_created_logs_event(tmp_path: Path) -> None:
    """Once, when it is created: an operator must keep a backup of it."""
    (tmp_path / "certs").mkdir(mode=0o700)
    logs = [made(tmp_path, {"house": embedded(tmp_path)}, FIRST)[1] for _ in range(2)]
    assert ["ca.created" in log for log in logs] == [True, False]


def test_embedded_ca_lost_is_never_replaced(tmp_path: Path) -> None:
    """It existed here, or another certs directory or the ledger knows of it: no new one, and the remedy says why."""
    lost = tmp_path / "ca"
    mine = embedded(tmp_path)
    assert mine.fact().problem is None
    assert mine.fact().uncreated
    for first in (False, True):
        if first:
            mine.bundle("/certs", "ca", now(), first=True)
            assert mine.fact().problem is None
            assert not mine.fact().uncreated
            shutil.rmtree(lost)
            assert "restore the directory from a backup" in mine.fact().advice
        with pytest.raises(AuthorityError, match="restore the directory from a backup") as caught:
            mine.bundle("/certs", "ca", now(), first=first)
        assert (caught.value.refused, lost.exists()) == (True, False)


def test_embedded_ca_is_not_created_for_leaf(tmp_path: Path) -> None:
    """A trust bundle exists by then: a new CA's certificates would be refused, and the CA would stay."""
    with pytest.raises(AuthorityError, match="a new one is made only with the first trust bundle"):
        embedded(tmp_path).issue(order(tmp_path), now())
    assert not (tmp_path / "ca").exists()


def test_embedded_ca_key_lost_or_exposed_is_reported_early(tmp_path: Path) -> None:
    """Its certificate alone signs nothing: that is reported before a renewal is due."""
    mine = embedded(tmp_path)
    mine.bundle("/certs", "ca", now(), first=True)
    key = tmp_path / "ca" / "ca.key"
    key.chmod(0o644)
    assert "chmod 0600" in (mine.fact().problem or "")
    key.unlink()
    assert "ca.key" in (mine.fact().problem or "")


def test_embedded_ca_for_ui_needs_no_bundle(tmp_path: Path) -> None:
    """`ui` may be verified by the system's roots, so no trust bundle comes first; a lost one is not replaced either."""
    mine, asks = embedded(tmp_path), replace(order(tmp_path), stem="ui")
    with pytest.raises(AuthorityError, match="there is no CA"):
        mine.issue(replace(asks, live=b"a live certificate"), now())
    assert mine.issue(asks, now())
    shutil.rmtree(tmp_path / "ca")
    with pytest.raises(AuthorityError, match="is missing from"):
        mine.issue(asks, now())
