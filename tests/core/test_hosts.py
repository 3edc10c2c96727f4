"""Names of hosts are compared as values: case, kind of name, final dots."""

import pytest

from certagent.core.actions import Issue
from certagent.core.decide import decide
from certagent.core.decide.sans import names, vanishing
from certagent.core.hosts import normalised
from certagent.core.rules import pair_findings, refusal
from tests.core.building import DAY, NOW, leaf, pair, policy, snapshot, staged, want

CONFIGURED = [
    ("DB1.Example.COM", "db1.example.com"),
    ("db1.example.com.", "db1.example.com"),
    ("*.Example.com", "*.example.com"),
    ("2001:DB8:0::1", "2001:db8::1"),
    ("::ffff:10.0.0.5", "10.0.0.5"),
    ("node1", "node1"),
    ("a" * 63, "a" * 63),
]


@pytest.mark.parametrize(("written", "name"), CONFIGURED, ids=[row[0] for row in CONFIGURED])
def test_configured_name_is_normalised(written: str, name: str) -> None:
    """Lower case, no final dot, addresses in canonical text: as a certificate should have it."""
    assert normalised(written) == name


@pytest.mark.parametrize(
    "written", ["fe80::1%eth0", "10.0.0.256", "1.2.3", "db1.example.5", "a" * 64, "a." * 130 + "com"]
)
def test_configured_name_impossible_in_certificate_is_refused(written: str) -> None:
    """A zone, a number as the last label, a label over 63 or a name over 253 characters."""
    with pytest.raises(ValueError, match=r"zone|number|at most"):
        normalised(written)


UPPER = leaf(dns=("DB1.Example.com", "node"), ips=("10.0.0.5",))


def test_certificate_in_other_case_has_the_name() -> None:
    """CAs lower names, or keep the requested case: it is the same name, so none is missing and none is dropped."""
    wanted = want(names=("db1.example.com", "10.0.0.5"))
    assert list(pair_findings(wanted, pair("node", UPPER), NOW)) == []
    assert vanishing(snapshot(), wanted, UPPER) is None
    assert not any(
        isinstance(a, Issue)
        for a in decide(policy(want("ca"), wanted), snapshot(pair("ca"), pair("node", UPPER)), NOW).actions
    )


def test_answer_in_other_case_is_installed() -> None:
    """Upper case in `names` that the CA lowers does not end in one refused certificate after the other."""
    made = staged("node", leaf("node", 2, dns=("db1.example.com",), not_before=NOW, not_after=NOW + 30 * DAY))
    assert refusal(want(names=("DB1.example.com", "10.0.0.5")), made, None, True, NOW) is None


def test_address_as_dns_name_is_no_address() -> None:
    """Go looks for an address among the IP SANs alone."""
    found = pair_findings(want(), pair("node", leaf(dns=("db1.example.com", "10.0.0.5"), ips=())), NOW)
    assert [(f.code, "10.0.0.5" in f.message) for f in found] == [("cert.san", True)]


def test_certificate_name_with_final_dot_is_another_name() -> None:
    """No client that asks for the host accepts it: the configured name is missing, and nothing is lost with it."""
    dotted = leaf(dns=("db1.example.com.",))
    assert [f.code for f in pair_findings(want(), pair("node", dotted), NOW)] == ["cert.san"]
    assert vanishing(snapshot(), want(), dotted) is None


def test_names_kept_from_live_pair_are_normalised() -> None:
    """Without `names` those of the live certificate are asked for again, but not its mistakes."""
    live = leaf(dns=("DB1.example.com.", "db1.example.com", "node"), ips=("10.0.0.5",))
    assert names(want(names=None), live) == ("db1.example.com", "node", "10.0.0.5")
