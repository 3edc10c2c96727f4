"""Who a certificate is: principals after the map, and the distinguished-name flags."""

from dataclasses import replace

import pytest

from certagent.core.facts import Leaf, LoaderFlags
from certagent.core.policy import on_terms_of, under
from certagent.core.principals import (
    is_subject,
    principals,
    refused_by_loader,
    refused_principal,
    refused_scopes,
    refused_subject,
)
from certagent.core.rules import pair_findings
from tests.core.building import NOW, leaf, name_of, pair, policy, process, want

CUSTOM = leaf(common_names=("custom",), dns=("db1",), subject="CN=custom,O=Cockroach")
TO_NODE = LoaderFlags(principal_map=(("custom", "node"),))
BY_DN = LoaderFlags(node_dn="O=Cockroach, cn=custom")


def test_principal_last_mapping_and_last_common_name_win() -> None:
    """As Go has it: of several common names the last counts, of several mappings of a name the last."""
    terms = LoaderFlags(principal_map=(("b", "x"), ("b", "node")))
    assert principals(leaf(common_names=("a", "b"), dns=("c",)), terms) == ("node", "c")


LOADER = [
    ("the plain rule", "node", leaf(), LoaderFlags(), True),
    ("another's name", "node", CUSTOM, LoaderFlags(), False),
    ("mapped", "node", CUSTOM, TO_NODE, True),
    ("mapped away", "node", leaf(), LoaderFlags(principal_map=(("node", "x"),)), False),
    ("root's for a node", "node", leaf(common_names=("root",)), LoaderFlags(), False),
    ("not by its subject", "node", CUSTOM, BY_DN, False),
    ("a client's own name", "root", leaf("client.root"), LoaderFlags(), True),
    ("a client, by the map", "root", CUSTOM, LoaderFlags(principal_map=(("custom", "root"),)), True),
    ("not by its URI", "root", replace(CUSTOM, uris=("crdb://tenant/1/user/root",)), LoaderFlags(), False),
    ("no principal is wanted", None, CUSTOM, LoaderFlags(), True),
]


@pytest.mark.parametrize(("label", "wanted", "cert", "terms", "taken"), LOADER, ids=[r[0] for r in LOADER])
def test_principal_loader_up_to_24_1(
    label: str, wanted: str | None, cert: Leaf, terms: LoaderFlags, taken: bool
) -> None:
    """Up to 24.1 the user among the principals; only the map relaxes that."""
    problem = refused_by_loader(wanted, cert, terms)
    assert taken == (problem == ""), (label, problem)


ROOT_NODE = leaf(common_names=("root",))
NEW, LAST_OLD = LoaderFlags(release=(24, 2)), LoaderFlags(release=(24, 1))
USERS = [
    ("the plain rule", "node", leaf(), LoaderFlags(), True),
    ("another's name", "node", CUSTOM, NEW, False),
    ("by its subject", "node", CUSTOM, BY_DN, True),
    ("its principal counts no more", "node", leaf(subject="CN=x"), BY_DN, False),
    ("another subject", "node", CUSTOM, LoaderFlags(node_dn="CN=other"), False),
    ("a node's client by its subject", "client.node", CUSTOM, BY_DN, True),
    ("root's for a node", "node", ROOT_NODE, NEW, True),
    ("which an old loader refuses", "node", ROOT_NODE, LAST_OLD, False),
    ("unknown is no", "node", ROOT_NODE, LoaderFlags(), False),
    ("root is no other user", "client.app", ROOT_NODE, NEW, False),
    ("root's log-in is disallowed", "client.root", leaf("client.root"), LoaderFlags(root_login=False), False),
    ("that bars a node's too", "node", leaf(dns=("root",)), LoaderFlags(root_login=False), False),
    ("other users may", "client.app", leaf("client.app"), LoaderFlags(root_login=False), True),
    ("all SANs", "node", CUSTOM, LoaderFlags(node_sans=("DNS:db1", "IP:10.0.0.5")), True),
    ("a SAN is missing", "node", leaf(), LoaderFlags(node_sans=("DNS:db1", "DNS:db2")), False),
    ("root's SANs for a node", "node", CUSTOM, LoaderFlags(root_sans=("DNS:db1",)), True),
]


@pytest.mark.parametrize(("label", "stem", "cert", "terms", "taken"), USERS, ids=[r[0] for r in USERS])
def test_principal_accepted_by_servers(label: str, stem: str, cert: Leaf, terms: LoaderFlags, taken: bool) -> None:
    """The user among the principals; a node is accepted as root too, and by its subject or SANs if flags say so."""
    name = name_of(stem)
    problem = refused_principal(name, name.subject or "node", cert, terms)
    assert taken == (problem == ""), (label, problem)


WORDS = [
    (LAST_OLD, "not the principal 'node': cockroach refuses the file"),
    (NEW, "not the principal 'node': cockroach loads the file and refuses connections"),
    (LoaderFlags(), "up to 24.1 refuses the file; from 24.2 on it loads it and refuses connections"),
]


@pytest.mark.parametrize(("terms", "words"), WORDS)
def test_principal_wrong_is_critical_in_every_version(terms: LoaderFlags, words: str) -> None:
    """The finding says what that version does with it; if the version is not known, both."""
    known = under(policy(want()), (terms,))
    found = [f for f in pair_findings(known.wants[0], pair("node", CUSTOM), NOW) if f.code == "cert.principal"]
    assert [f.severity for f in found] == ["critical"]
    assert found[0].message.endswith(words)


SUBJECTS = [
    ("no flag, no rule", "node", CUSTOM, LoaderFlags(), True),
    ("the node's subject", "node", CUSTOM, BY_DN, True),
    ("not the node's subject", "node", leaf(), BY_DN, False),
    ("root's subject serves for RPC too", "node", CUSTOM, LoaderFlags(root_dn="O=Cockroach,CN=custom"), True),
    ("root's flag alone bars the node", "node", leaf(), LoaderFlags(root_dn="CN=root"), False),
    ("root", "client.root", leaf("client.root"), LoaderFlags(root_dn="CN=root"), True),
    ("not root's subject", "client.root", CUSTOM, LoaderFlags(root_dn="CN=root"), False),
    ("the node's flag says nothing of root", "client.root", CUSTOM, LoaderFlags(node_dn="CN=node"), True),
    ("other users are free", "client.app", CUSTOM, LoaderFlags(root_dn="CN=root"), True),
]


@pytest.mark.parametrize(("label", "stem", "cert", "terms", "taken"), SUBJECTS, ids=[r[0] for r in SUBJECTS])
def test_principal_distinguished_name_flag_must_match(
    label: str, stem: str, cert: Leaf, terms: LoaderFlags, *, taken: bool
) -> None:
    """With a distinguished-name flag the subject itself must match, whatever the principals say."""
    name = name_of(stem)
    problem = refused_subject(name, name.subject or "node", cert, terms)
    assert taken == (problem == ""), (label, problem)


DNS = [
    ("O=b,CN=a", "CN=a,O=b", True),
    ("o=b, cn=a", "CN=a,O=b", True),
    ("CN=a,O=b", "CN=a,O=b", False),
    ("CN=a,O=b", "O=b,CN=a", True),
    ("CN=a", "CN=A", False),
    ("CN=a", "CN=a", True),
    (r"CN=a\,b", r"CN=a\,b", True),
    (r"CN=a\,O=b", "CN=a,O=b", False),
    (r"CN=a\+O=b", "CN=a+O=b", False),
    ("OU=x+CN=a,O=b", "O=b,CN=a+OU=x", True),
    ("OU=x,CN=a,O=b", "O=b,CN=a+OU=x", False),
    ("", "CN=a", False),
]


@pytest.mark.parametrize(("flag", "subject", "same"), DNS)
def test_distinguished_names_are_compared_as_rfc4514(flag: str, subject: str, *, same: bool) -> None:
    """In the order of the encoding, which RFC 4514 reverses; types in any case, blanks between, values exactly."""
    assert same == is_subject(flag, subject)


def test_principal_judged_by_flags_of_processes() -> None:
    """A serving process with a principal map: no critical finding; a second one without it: one that says so."""
    custom = pair("node", leaf(common_names=("custom",)))
    mapped = process(terms=TO_NODE)

    def codes(*processes: object) -> list[str]:
        known = on_terms_of(policy(want()), processes)  # type: ignore[arg-type]
        return [f.code for f in pair_findings(known.wants[0], custom, NOW)]

    assert codes() == ["cert.principal"]
    assert codes(mapped) == []
    assert codes(mapped, process(pid=2)) == ["cert.principal"]


def test_loader_flags_are_not_in_configuration_digest() -> None:
    """A process that starts with a flag is not a change of the configuration: nothing is issued for it."""
    known = under(policy(), (TO_NODE,))
    assert [w.digest for w in policy().wants] == [w.digest for w in known.wants]
    assert under(policy(), (LoaderFlags(), LoaderFlags())) == policy()


def test_policy_under_known_terms_is_made_once() -> None:
    """Each decision asks for it: the same flags give the same policy, other flags another one."""
    asked = policy(want())
    made = under(asked, (TO_NODE,))
    assert under(asked, (TO_NODE, TO_NODE)) is made
    other = replace(TO_NODE, debug_user=not TO_NODE.debug_user)
    assert under(asked, (other,)).terms == (other,)


def test_permission_check_skipped_is_a_warning() -> None:
    """If every process skips the check, a wide key is not a refusal; if one checks, it is."""
    from certagent.core.decide import decide
    from tests.core.building import snapshot

    wide = pair("node", mode=0o644)
    skips = process(terms=LoaderFlags(skip_key_check=True))
    for processes, severity in (((skips,), "warning"), ((skips, process(pid=2)), "critical"), ((), "critical")):
        known = snapshot(pair("ca"), wide, processes=processes)
        plan = decide(replace(policy(), enforce="report"), known, NOW)
        assert [severity] == [f.severity for f in plan.findings if f.code == "key.mode"]


def test_scope_of_a_certificate_that_names_no_user_is_not_judged() -> None:
    """Where no user is wanted, as of a server certificate of the console, no `crdb://` URI is wrong."""
    assert refused_scopes(name_of("ui"), None, ("crdb://tenant/10/user/root",)) == ""
    assert refused_scopes(name_of("client-tenant.7"), "7", ("crdb://tenant/10/user/root",)) == ""
