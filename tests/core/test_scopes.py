"""`crdb://` URI SANs and OU=Tenants: whom a certificate is valid for, and that a renewal widens nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from certagent.core.actions import Install, Issue, RejectStaged, Rollback
from certagent.core.decide import decide
from certagent.core.facts import Leaf, LoaderFlags, Request
from certagent.core.predict import predict
from certagent.core.principals import refused_principal
from tests.core.building import DAY, NOW, generation, leaf, name_of, pair, policy, process, snapshot, staged, want

ROOT_10 = "crdb://tenant/10/user/root"
ROOT_1 = "crdb://tenant/1/user/root"
APP = "crdb://tenant/1/user/app"


def uris(*found: str, stem: str = "client.root", **changes: object) -> Leaf:
    return leaf(stem, uris=found, **changes)


ROWS = [
    ("client.root", uris(ROOT_1), ""),
    ("client.root", uris("crdb://tenant-name/system/user/root"), ""),
    ("client.root", uris("CRDB://tenant/1/user/root"), ""),
    ("client.root", uris(ROOT_10), "in tenant 10 only"),
    ("client.root", uris("crdb://tenant-name/app/user/root"), "in tenant app only"),
    ("client.root", uris(ROOT_10, ROOT_1), ""),
    ("client.root", uris(APP), "not for 'root'"),
    ("client.app", uris(APP, stem="client.app", common_names=("app1.example.com",)), ""),
    ("client.app", uris("https://x", stem="client.app", common_names=("other",)), "not the principal 'app'"),
    ("client.root", uris("crdb://x"), "malformed"),
    ("client.root", uris(ROOT_1, "crdb://tenant/x/user/root"), "malformed"),
    ("client.root", uris("crdb://TENANT/1/user/root"), "malformed"),
    ("client.root", uris("crdb://tenant/0/user/root"), "malformed"),
    ("client.root", uris("crdb://tenant/18446744073709551616/user/root"), "malformed"),
    ("client.root", uris("crdb://tenant/1/user/"), "malformed"),
    ("node", uris("crdb://x", stem="node"), "malformed"),
    ("node", uris("crdb://tenant/10/user/node", stem="node"), "in tenant 10 only"),
    ("node", uris("crdb://tenant/1/user/node", stem="node"), ""),
    ("client.root", leaf("client.root", subject="CN=root,OU=Tenants,O=Cockroach"), "OU=Tenants"),
    ("node", leaf("node", subject="CN=node+OU=Tenants"), "OU=Tenants"),
    ("client.root", leaf("client.root", subject="CN=root,OU=Tenants2,O=Cockroach"), ""),
    ("client-tenant.7", leaf("client-tenant.7", subject="CN=7,OU=Tenants", common_names=("7",)), ""),
]


@pytest.mark.parametrize(("stem", "cert", "problem"), ROWS, ids=[f"{s}-{c.uris}-{c.subject}" for s, c, _ in ROWS])
def test_scope_uris_limit_users_and_tenants(stem: str, cert: Leaf, problem: str) -> None:
    """With `crdb://` URIs their users count alone, each in its tenant; a malformed one, or OU=Tenants, refuses it."""
    name = name_of(stem)
    found = refused_principal(name, name.subject or "node", cert, LoaderFlags())
    assert problem in found
    assert bool(problem) == bool(found)


def test_scope_uris_ignore_principal_map() -> None:
    """`--cert-principal-map` applies to no certificate with `crdb://` URIs."""
    terms = LoaderFlags(principal_map=(("app", "root"),))
    assert "not for 'root'" in refused_principal(name_of("client.root"), "root", uris(APP), terms)


ROOT = want("client.root")
DUE = {"not_before": NOW - 25 * DAY, "not_after": NOW + 5 * DAY}


def names_asked(*pairs: object, **changes: object) -> tuple[str, ...]:
    plan = decide(policy(want("ca"), replace(ROOT, **changes)), snapshot(pair("ca"), *pairs), NOW)  # type: ignore[arg-type]
    return next((a.names for a in plan.actions if isinstance(a, Issue)), ())


@pytest.mark.parametrize("names", [None, ("db1.example.com",)])
def test_scope_uris_are_kept_by_renewal(names: tuple[str, ...] | None) -> None:
    """Without them a certificate of one tenant would become valid for all; `names` are about hosts alone."""
    live = pair("client.root", uris(ROOT_1, ROOT_10, "https://x", **DUE))
    assert names_asked(live, names=names) == (*(names or ()), ROOT_1, ROOT_10)


def test_scope_uris_in_predicted_answer() -> None:
    """The predicted answer is that of a CA that signs the whole request, and the next plan has nothing to do."""
    known = snapshot(pair("ca"), pair("client.root", uris(ROOT_1, **DUE)))
    rule = policy(want("ca"), ROOT)
    issue = next(a for a in decide(rule, known, NOW).actions if isinstance(a, Issue))
    after = predict(known, issue, NOW)
    assert [s.pair.leaf.uris for s in after.staged if s.pair.leaf] == [(ROOT_1,)]
    assert [a.stem for a in decide(rule, after, NOW).actions if isinstance(a, Install)] == ["client.root"]


@pytest.mark.parametrize(("answer", "installed"), [((ROOT_10, ROOT_1), True), ((ROOT_1,), False), ((), False)])
def test_scope_uri_dropped_by_answer_is_rejected(answer: tuple[str, ...], installed: bool) -> None:
    """Whichever CA answers: an installed pair is valid for no tenant that the live certificate is not valid for."""
    fresh = leaf("client.root", 2, uris=answer, not_before=NOW, not_after=NOW + 30 * DAY)
    live = pair("client.root", uris(ROOT_1, ROOT_10, **DUE))
    known = snapshot(pair("ca"), live, staged=(staged("client.root", fresh),))
    plan = decide(policy(want("ca"), ROOT), known, NOW)
    assert installed == any(isinstance(a, Install) for a in plan.actions)
    reasons = [a.reason for a in plan.actions if isinstance(a, RejectStaged)]
    assert installed or "lacks the URI SAN" in reasons[0]


def test_scope_uris_excluding_the_user_ask_no_ca() -> None:
    """A renewal would keep them, and be refused for them: the remedy is the setting `uris`."""
    live = pair("client.root", uris(APP, **DUE))
    plan = decide(policy(want("ca"), ROOT), snapshot(pair("ca"), live), NOW)
    assert not [a for a in plan.actions if isinstance(a, Issue)]
    found = [f for f in plan.findings if f.code == "renewal.refused"]
    assert "keeps its URIs" in found[0].message
    assert "set `uris`" in found[0].remedy
    assert "cert.principal" in {f.code for f in plan.findings}


def test_scope_uris_survive_an_unreadable_certificate() -> None:
    """A damaged or missing file does not widen a tenant's certificate."""
    before = generation("client.root", uris=(ROOT_1,))
    live = pair("client.root")
    assert live.cert is not None
    damaged = replace(live, cert=replace(live.cert, leaf=None, problem="garbage", problem_kind="unparsable"))
    rule = policy(want("ca"), ROOT)

    def asked(*pairs: object) -> list[tuple[str, ...]]:
        plan = decide(rule, snapshot(pair("ca"), *pairs, generations=(before,)), NOW)  # type: ignore[arg-type]
        return [a.names for a in plan.actions if isinstance(a, Issue)]

    assert asked(damaged) == [(ROOT_1,)]
    assert asked() == [(ROOT_1,)]


def test_scope_uris_server_needs_a_host_name() -> None:
    """A `crdb://` URI is not the name of a host: without another name the CA is not asked."""
    live = pair("node", uris("crdb://tenant/1/user/node", stem="node", dns=(), ips=(), **DUE))
    known = snapshot(pair("ca"), live)
    plan = decide(policy(want("ca"), want("node", names=None)), known, NOW)
    assert not [a for a in plan.actions if isinstance(a, Issue)]


def test_scope_uris_are_not_widened_by_rollback() -> None:
    """A generation from before the live certificate was limited to a tenant is not restored."""
    live = pair("client.root", uris(ROOT_1))
    request = Request("rollback", "client.root", NOW - timedelta(seconds=1))
    for before, allowed in ((generation("client.root"), False), (generation("client.root", uris=(ROOT_1,)), True)):
        known = snapshot(pair("ca"), live, generations=(before,), requests=(request,))
        plan = decide(policy(want("ca"), ROOT), known, NOW)
        assert allowed == any(isinstance(a, Rollback) for a in plan.actions), [a.reason for a in plan.actions]


def test_uri_required_by_flags_is_kept_by_renewal() -> None:
    """`--root-cert-san=URI=spiffe://x` refuses a certificate without it; other URIs are left to their CA."""
    live = pair("client.root", uris("spiffe://x", "spiffe://y", **DUE))
    terms = LoaderFlags(root_sans=("URI:spiffe://x",))
    known = snapshot(pair("ca"), live, processes=(process(terms=terms),))
    plan = decide(policy(want("ca"), ROOT), known, NOW)
    assert [a.names for a in plan.actions if isinstance(a, Issue)] == [("spiffe://x",)]
