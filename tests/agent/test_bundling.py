"""`bundle add` and `bundle prune` in a real directory: what is staged, what is refused, what is recorded."""

from dataclasses import replace
from pathlib import Path

import pytest

from certagent import x509
from certagent.agent.bundles import changeable
from certagent.agent.bundling import Bundling, joined
from certagent.certs_dir.swap import Store
from certagent.core.actions import Plan
from certagent.core.facts import Directory, ObserveOnly, Trust, Why
from certagent.core.policy import RotationRule
from certagent.core.view import Planned
from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger
from tests.core.building import leaf, pair, policy, snapshot, want
from tests.making import DAY, cross_signed, make_ca
from tests.moments import now

OLD, NEW, LATER = make_ca("the old CA"), make_ca("the new CA"), make_ca("a later CA")
CA = want("ca")


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """A certs directory whose bundle contains the old CA."""
    path = tmp_path / "certs"
    path.mkdir(mode=0o700)
    (path / "ca.crt").write_bytes(OLD.cert)
    return path


def bundling(certs: Path) -> Bundling:
    ledger = Ledger.writing(str(certs.parent / "ledger.db"))
    return Bundling(path=str(certs), ledger=ledger, store=Store(str(certs)), by="uid 0, pid 1")


def staged(certs: Path) -> list[str]:
    """The subjects of what is staged, first one first."""
    rows = Store(str(certs)).staged()
    return [leaf.subject for row in rows for leaf in x509.parse_certificates(row.cert)]


def test_added_ca_is_staged_in_front(certs: Path) -> None:
    """And recorded, with who asked; the live file is as it was."""
    mine = bundling(certs)
    found = mine.add(CA, NEW.cert.decode(), now())
    assert ([ca.subject for ca in found.new], found.there) == (["CN=the new CA,O=Cockroach"], ())
    assert staged(certs) == ["CN=the new CA,O=Cockroach", "CN=the old CA,O=Cockroach"]
    assert (certs / "ca.crt").read_bytes() == OLD.cert
    (row,) = mine.ledger.history(str(certs), "ca", 9)
    assert (row["kind"], row["outcome"], row["digest"]) == ("command", "ok", "bundle add")
    assert row["reason"].startswith("CN=the new CA,O=Cockroach (")
    assert row["reason"].endswith("asked by uid 0, pid 1")
    assert found.new[0].fingerprint in mine.ledger.issued(str(certs))


def test_second_addition_keeps_the_first(certs: Path) -> None:
    """One that waits to be installed is not lost by the next command."""
    mine = bundling(certs)
    mine.add(CA, NEW.cert.decode(), now())
    mine.add(CA, LATER.cert.decode(), now())
    assert [s.partition(",")[0] for s in staged(certs)] == ["CN=a later CA", "CN=the new CA", "CN=the old CA"]


def test_ca_that_is_there_changes_nothing(certs: Path) -> None:
    """It is said, nothing is staged or recorded."""
    mine = bundling(certs)
    found = mine.add(CA, OLD.cert.decode() + OLD.cert.decode(), now())
    assert (found.new, [ca.subject for ca in found.there]) == ((), ["CN=the old CA,O=Cockroach"])
    assert (staged(certs), mine.ledger.history(str(certs), "", 9)) == ([], [])


def test_cross_signed_ca_is_added_where_its_root_is_known(certs: Path) -> None:
    """An intermediate leads to a root of the file or of the bundle; else it is refused."""
    mine = bundling(certs)
    crossed = cross_signed(NEW.cert, OLD).decode()
    assert mine.added(CA, crossed, now()).problems == ()
    stranger = cross_signed(NEW.cert, LATER).decode()
    with pytest.raises(HostError, match="is not self-signed, and its root is neither"):
        mine.added(CA, stranger, now())
    assert len(mine.added(CA, stranger + LATER.cert.decode(), now()).new) == 2


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (OLD.pair()[0].decode(), "is not a CA certificate"),
        (NEW.cert.decode() + NEW.key.decode(), "a private key"),
        ("", "cannot use the file"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot use the file"),
        ("\udcff", "cannot use the file"),
    ],
    ids=["leaf", "key", "empty", "no certificate", "no text"],
)
def test_unfit_file_is_refused(certs: Path, pem: str, why: str) -> None:
    """With the reason; nothing is staged."""
    with pytest.raises(HostError, match=why):
        bundling(certs).add(CA, pem, now())
    assert staged(certs) == []


def test_expired_ca_is_refused(certs: Path) -> None:
    """It verifies nothing any more."""
    ended = make_ca("the ended CA", days=1, at=now() - 9 * DAY)
    with pytest.raises(HostError, match="expired at"):
        bundling(certs).add(CA, ended.cert.decode(), now())


def test_bundle_that_is_missing_is_not_added_to(certs: Path) -> None:
    """What other nodes trust is not known then."""
    (certs / "ca.crt").unlink()
    with pytest.raises(HostError, match="restore it first"):
        bundling(certs).add(CA, NEW.cert.decode(), now())


def planned(*, alone: bool = True) -> Planned:
    """A directory whose node has a chain of the new CA; `alone`: no other node and no other client."""
    live = pair("ca")
    assert live.cert is not None
    new, old = (x509.parse_certificates(ca.cert)[0] for ca in (NEW, OLD))
    bundle = replace(live, cert=replace(live.cert, leaf=new, chain=(old,)))
    fresh = leaf("node", not_before=now() - DAY, not_after=now() + 30 * DAY)
    seen = snapshot(bundle, replace(pair("node", fresh), trust=Trust("ca", None, (new.spki,))))
    rule = RotationRule(peers=(), outside_clients=not alone)
    return Planned(policy=policy(CA, want("node"), rotation=rule), snapshot=seen, plan=Plan((), (), (), None))


def test_pruned_ca_is_left_out(certs: Path) -> None:
    """What is kept is staged in its order, and the removed CAs are recorded; refused while somebody may need them."""
    (certs / "ca.crt").write_bytes(NEW.cert + OLD.cert)
    mine = bundling(certs)
    with pytest.raises(HostError, match="CN=the old CA,O=Cockroach may be needed by clients of other hosts"):
        mine.prune(CA, planned(alone=False), now())
    assert staged(certs) == []
    assert [ca.subject for ca in mine.prune(CA, planned(), now())] == ["CN=the old CA,O=Cockroach"]
    assert staged(certs) == ["CN=the new CA,O=Cockroach"]
    assert mine.ledger.history(str(certs), "ca", 1)[0]["digest"] == "bundle prune"


def test_agent_leaves_no_bundle_empty(certs: Path) -> None:
    """What it prunes by itself is recorded as its own; a bundle without any CA is never staged."""
    (certs / "ca.crt").write_bytes(NEW.cert + OLD.cert)
    mine = replace(bundling(certs), by="this agent")
    new, old = (x509.parse_certificates(ca.cert)[0] for ca in (NEW, OLD))
    with pytest.raises(HostError, match="no CA would be left"):
        mine.leave(CA, (new, old), now())
    mine.leave(CA, (old,), now())
    assert staged(certs) == ["CN=the new CA,O=Cockroach"]
    assert mine.ledger.history(str(certs), "ca", 1)[0]["reason"].endswith("asked by this agent")


def test_staging_that_fails_is_said_and_recorded(certs: Path) -> None:
    """Nobody is told that it was staged."""
    mine = bundling(certs)
    (certs / ".certagent").write_text("in the way")
    with pytest.raises(HostError, match=r"cannot stage ca\.crt"):
        mine.add(CA, NEW.cert.decode(), now())
    assert [r["outcome"] for r in mine.ledger.history(str(certs), "ca", 9)] == ["failed"]


@pytest.mark.parametrize(
    ("only", "authorities", "why"),
    [
        (ObserveOnly(Why.KUBERNETES, "links through ..data"), ("house",), "externally managed.*the tool that rotates"),
        (ObserveOnly(Why.FULL, "no space"), ("house",), "free disk space"),
        (None, (), "no authority is configured for it; change it with the tool"),
    ],
    ids=["volume", "full", "none"],
)
def test_bundle_of_another_tool_is_not_changed(
    only: ObserveOnly | None, authorities: tuple[str, ...], why: str
) -> None:
    """The answer names what to do instead."""
    directory = Directory("/certs", exists=True, observe_only=only)
    last = replace(planned(), snapshot=replace(planned().snapshot, directory=directory))
    with pytest.raises(HostError, match=why):
        changeable(last, want("ca", authorities=authorities))
    changeable(planned(), CA)


def test_several_are_joined_in_a_sentence() -> None:
    """With "and" before the last."""
    assert [joined(parts) for parts in (("a",), ("a", "b"), ("a", "b", "c"))] == ["a", "a and b", "a, b and c"]
