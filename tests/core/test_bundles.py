"""What may be added to a trust bundle, and what may replace it."""

from dataclasses import replace

import pytest

from certagent.core.bundles import MOST_ADDED, Candidate, addition, certificates, certificates_in, replacing
from certagent.core.facts import Leaf, Pair, Staged
from tests.core.building import DAY, NOW, leaf, pair, staged

OLD = leaf("ca", 1, subject="CN=old", not_before=NOW - 900 * DAY, not_after=NOW + 100 * DAY)
NEW = leaf("ca", 2, subject="CN=new", not_before=NOW - DAY, not_after=NOW + 3000 * DAY)


def bundle(*cas: Leaf) -> Pair:
    """A live bundle of these CAs."""
    made = pair("ca", cas[0])
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, chain=cas[1:]))


def waiting(*cas: Leaf, asked: bool = True) -> Staged:
    """A staged one."""
    return replace(staged("ca"), pair=bundle(*cas), asked=asked)


def candidate(ca: Leaf, *, rooted: bool = True) -> Candidate:
    return Candidate(ca=ca, rooted=rooted)


def test_addition_of_new_and_known_ca() -> None:
    """What is there already is said, and is no mistake; a certificate that stands twice counts once."""
    found = addition((OLD,), [candidate(NEW), candidate(OLD), candidate(NEW)], NOW)
    assert (found.new, found.there, found.problems) == ((NEW,), (OLD,), ())


@pytest.mark.parametrize(
    ("ca", "rooted", "why"),
    [
        (replace(NEW, is_ca=False), True, "CN=new is not a CA certificate"),
        (replace(NEW, not_after=NOW), True, "CN=new expired at"),
        (replace(NEW, caveat="Go 1.23 refuses it"), True, "CN=new: Go 1.23 refuses it"),
        (NEW, False, "CN=new is not self-signed"),
    ],
    ids=["leaf", "expired", "nonstandard", "intermediate"],
)
def test_addition_of_unfit_certificate(ca: Leaf, rooted: bool, why: str) -> None:
    """Each reason is given; one that is not valid yet is fit: a root is brought before it is used."""
    assert addition((OLD,), [candidate(ca, rooted=rooted)], NOW).problems[0].startswith(why)
    assert addition((OLD,), [candidate(replace(NEW, not_before=NOW + DAY))], NOW).problems == ()


def test_addition_of_too_many_certificates() -> None:
    """A bundle of a public kind is a mistake."""
    many = [candidate(replace(NEW, fingerprint=f"{n}")) for n in range(MOST_ADDED + 1)]
    assert "takes 64 at a time" in addition((), many, NOW).problems[0]


@pytest.mark.parametrize(
    ("found", "live", "why"),
    [
        (waiting(NEW, OLD), bundle(OLD), None),
        (waiting(NEW), None, None),
        (waiting(NEW), Pair(bundle(OLD).name), None),
        (waiting(NEW), bundle(OLD, NEW), None),
        (waiting(NEW, OLD), bundle(OLD, NEW), "contains all of these CAs already"),
        (waiting(NEW), bundle(OLD), "ca.crt has changed since: it contains CN=old"),
        (waiting(NEW, OLD, asked=False), bundle(OLD), "never replaces"),
    ],
    ids=["wider", "first", "missing", "narrower", "same", "other", "nobody asked"],
)
def test_staged_bundle_may_replace_live_one(found: Staged, live: Pair | None, why: str | None) -> None:
    """It is wider or narrower, and this agent made it; what happened meanwhile is never undone."""
    assert (why or "") in (said := replacing(found, live) or "")
    assert bool(said) == bool(why)


def test_staged_bundle_never_replaces_an_unreadable_one() -> None:
    """What is there is not known, so nobody can say what would be lost."""
    live = bundle(OLD)
    assert live.cert is not None
    unread = replace(live, cert=replace(live.cert, leaf=None, problem="unreadable"))
    assert "never replaces" in (replacing(waiting(NEW, OLD), unread) or "")
    assert certificates(unread) == ()


def test_certificates_of_a_file_without_its_comments() -> None:
    """What `openssl x509 -text` prints, and a certificate without its end, stay behind."""
    one = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----"
    assert certificates_in(f"Issuer: CN=x\n{one}\nmore\n{one}\n-----BEGIN CERTIFICATE-----\nMI") == f"{one}\n{one}\n"
