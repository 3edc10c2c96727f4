"""Certificates that cost much to verify: refused as Go refuses them, or bounded."""

from ipaddress import ip_address

import pytest

from certagent import x509
from certagent.x509.bundles import MOST_ANCHORS
from certagent.x509.constraints import MOST_COMPARISONS, Names, Subtrees, names_problem
from tests.making import make_ca
from tests.moments import now


def names(count: int) -> Names:
    return Names(dns=tuple(f"a.n{n}.example" for n in range(count)))


@pytest.mark.parametrize(("count", "refused"), [(500, False), (501, True), (10_000, True)])
def test_name_constraints_beyond_go_limit_are_refused(count: int, refused: bool) -> None:
    """250,000 comparisons for one CA, of all certificates beneath it; more are refused without making any."""
    subtrees = Subtrees(permitted=names(250), excluded=Names(dns=("other.example",) * 250))
    assert 500 * 500 == MOST_COMPARISONS
    chain = [
        ("leaf", Names(dns=names(250).dns * (count // 250) + names(count % 250).dns), None),
        ("ca", Names(), subtrees),
    ]
    problem = names_problem(chain)
    assert (problem is not None) == refused
    assert not refused or problem == "the name constraints of ca take more than 250000 comparisons, which Go refuses"


@pytest.mark.parametrize("kind", ["ips", "uris", "mails"])
def test_name_constraints_of_each_kind_are_counted(kind: str) -> None:
    """Names are compared with subtrees of their own kind only; the certificates between count, too."""
    value: object = {"ips": ip_address("10.0.0.1"), "uris": "http://a.example/", "mails": "a@a.example"}[kind]
    found = Names(**{kind: (value,) * 600})
    none = Names()
    for subtrees in (Subtrees(Names(**{kind: (value,) * 600}), none), Subtrees(none, Names(**{kind: (value,) * 600}))):
        problem = names_problem([("leaf", none, None), ("between", found, None), ("ca", none, subtrees)])
        assert problem is not None
        assert "comparisons" in problem
    other = Subtrees(none, names(600))
    assert "comparisons" not in str(names_problem([("leaf", found, None), ("ca", none, other)]))


def test_anchors_are_sought_on_the_way_of_the_issuer_names() -> None:
    """Of a large bundle only the CAs that lead to the leaf are tried; an intermediate's root is one of them."""
    ca, others = make_ca("house"), [make_ca(f"other {n}") for n in range(40)]
    leaf = ca.pair("node")[0]
    bundle = b"".join(o.cert for o in others[:20]) + ca.cert + b"".join(o.cert for o in others[20:])
    assert x509.anchors(leaf, bundle, "server", now()) == (x509.parse_certificates(ca.cert)[0].spki,)
    assert x509.anchors(leaf, b"".join(o.cert for o in others), "server", now()) == ()
    assert x509.anchors(leaf, leaf + others[0].cert, "server", now()) == (x509.parse_certificates(leaf)[0].spki,)


def test_anchors_of_many_cas_of_one_name_are_bounded() -> None:
    """Thousands of CAs with the name of the issuer cost no more than the first few."""
    cas = [make_ca("house") for _ in range(MOST_ANCHORS + 5)]
    bundle = b"".join(ca.cert for ca in cas)
    for ca, found in ((cas[0], 1), (cas[MOST_ANCHORS - 1], 1), (cas[-1], 0)):
        leaf = ca.pair("node")[0]
        assert x509.verify_chain(leaf, bundle, "server", now()) is None
        assert len(x509.anchors(leaf, bundle, "server", now())) == found
