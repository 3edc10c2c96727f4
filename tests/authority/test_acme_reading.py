"""What an ACME server's documents mean, and how long it is waited for: values in, values out. One row a rule."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import dns.message
import dns.name
import dns.rcode
import pytest
from acme import messages

from certagent import x509
from certagent.authority.backends.acme.account import agreed, registration
from certagent.authority.backends.acme.alpn import Alpn
from certagent.authority.backends.acme.ari import place, window
from certagent.authority.backends.acme.dns01 import Hook, Update, alias, refusal, texts, zone_of
from certagent.authority.backends.acme.options import Options
from certagent.authority.backends.acme.order import asked_for, reached, wish, without_it
from certagent.authority.backends.acme.polling import Patience, pauses
from certagent.authority.backends.acme.proving import Authorization, proven, responder
from certagent.authority.backends.acme.web import Standalone, Webroot
from certagent.authority.errors import AuthorityError
from tests.making import make_ca

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PROBLEM = {"type": "urn:ietf:params:acme:error:caa", "detail": "not this CA"}
LIVE = make_ca().pair()[0].decode()


def order(status: str, **fields: Any) -> messages.Order:
    return messages.Order.from_json({"status": status, "identifiers": [], "authorizations": [], **fields})


@pytest.mark.parametrize(("status", "wanted", "there"), [
    ("pending", {"valid"}, False),
    ("ready", {"valid"}, False),
    ("processing", {"valid"}, False),
    ("valid", {"valid"}, True),
    ("ready", {"ready", "processing", "valid"}, True),
])  # fmt: skip
def test_an_order_on_its_way(status: str, wanted: set[str], *, there: bool) -> None:
    """As wanted, or to be looked at again."""
    assert there == reached(order(status), wanted)


def test_an_order_that_failed() -> None:
    """The CA's own problem, where it names one: it says who can act."""
    with pytest.raises(messages.Error) as named:
        reached(order("invalid", error=PROBLEM), {"valid"})
    assert "caa" == named.value.code
    with pytest.raises(AuthorityError, match="the order is invalid") as unnamed:
        reached(order("invalid"), {"valid"})
    assert "failed" == unnamed.value.kind


SOON = NOW + timedelta(seconds=9)


@pytest.mark.parametrize(("status", "at", "seconds"), [
    ("processing", SOON, 9.0),
    ("processing", None, 0.0),
    ("pending", SOON, 0.0),
    ("ready", SOON, 0.0),
])  # fmt: skip
def test_how_long_a_ca_asks_to_wait(status: str, at: datetime | None, seconds: float) -> None:
    """Its Retry-After counts while it makes the certificate."""
    assert seconds == asked_for(status, at, NOW)


def authorization(status: str, problem: dict[str, str] | None = None) -> Authorization:
    challenge = {"type": "http-01", "url": "https://ca/c", "token": "t", "status": status, "error": problem}
    whole = {"identifier": {"type": "dns", "value": "a.test"}, "status": status, "challenges": [challenge]}
    return Authorization.of(whole)


def test_a_name_that_is_proven() -> None:
    """Valid is proven, pending is not yet."""
    assert proven(authorization("valid"), "http-01")
    assert not proven(authorization("pending"), "http-01")


@pytest.mark.parametrize(("status", "problem", "words"), [
    ("invalid", PROBLEM, "caa: not this CA; allow this CA in the domain's CAA record"),
    ("invalid", None, "the authorization is invalid"),
    ("expired", None, "the authorization is expired"),
])  # fmt: skip
def test_a_name_that_cannot_be_proven(status: str, problem: dict[str, str] | None, words: str) -> None:
    """Refused, in the words of the CA where it has some."""
    with pytest.raises(AuthorityError) as caught:
        proven(authorization(status, problem), "http-01")
    assert f"http-01 validation of a.test failed: {words}" == str(caught.value)
    assert caught.value.refused


def test_the_responder_that_is_configured() -> None:
    """One kind a way to prove a name."""
    made = [
        responder(Options("https://ca/dir", **wish), "", {})  # type: ignore[arg-type]
        for wish in (
            {},
            {"webroot": "/srv"},
            {"challenge": "tls-alpn-01"},
            {"challenge": "dns-01", "dns_server": "127.0.0.1"},
            {"challenge": "dns-01", "dns_hook": ("/bin/true",)},
        )
    ]
    assert [Standalone, Webroot, Alpn, Update, Hook] == [type(m) for m in made]


def test_where_a_window_is() -> None:
    """Below the directory's renewalInfo, by the identifier of the live certificate."""
    name = x509.renewal_id(LIVE.encode())
    for base in ("https://ca/ari", "https://ca/ari/"):
        assert f"https://ca/ari/{name}" == place(messages.Directory.from_json({"renewalInfo": base}), LIVE)


@pytest.mark.parametrize(("fields", "live", "kind", "words"), [
    ({}, LIVE, "refused", "this CA has no renewal information"),
    ({"renewalInfo": 7}, LIVE, "malformed", "is not a URL"),
    ({"renewalInfo": None}, LIVE, "malformed", "is not a URL"),
    ({"renewalInfo": "https://ca/ari"}, "no PEM", "refused", "cannot ask when to renew"),
])  # fmt: skip
def test_no_place_for_a_window(fields: dict[str, Any], live: str, kind: str, words: str) -> None:
    """A CA without the extension, one that writes nonsense, and a certificate that is none."""
    with pytest.raises(AuthorityError, match=words) as caught:
        place(messages.Directory.from_json(fields), live)
    assert kind == caught.value.kind


def told(start: str, end: str) -> dict[str, Any]:
    return {"suggestedWindow": {"start": start, "end": end}, "explanationURL": "https://ca/\nwhy"}


@pytest.mark.parametrize(("retry_at", "again"), [
    (None, timedelta(hours=6)),
    (NOW + timedelta(hours=2), timedelta(hours=2)),
    (NOW, timedelta(minutes=1)),
    (NOW + timedelta(days=7), timedelta(days=1)),
])  # fmt: skip
def test_a_window(retry_at: datetime | None, again: timedelta) -> None:
    """In UTC, its explanation printable; asked for again at Retry-After, within a minute and a day."""
    found = window(told("2026-12-01T02:00:00+02:00", "2026-12-02T00:00:00Z"), retry_at, NOW)
    moments = [datetime.fromtimestamp(at, UTC) for at in (found.start, found.end)]
    assert [datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)] == moments
    assert (again.total_seconds(), "https://ca/ why") == (found.again_at - NOW.timestamp(), found.explanation)


def test_a_window_that_is_none() -> None:
    """Its end is not behind its start."""
    with pytest.raises(AuthorityError, match="the window ends before it starts") as caught:
        window(told("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"), None, NOW)
    assert "malformed" == caught.value.kind


def test_pauses_grow_and_stay() -> None:
    """Doubled each time, up to the longest."""
    assert [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0] == [*islice(pauses(), 9)]


def test_patience_that_would_be_over_is_not_waited_for() -> None:
    """A wait within it is waited, one beyond it returns at once; a rest ends with it."""
    patience = Patience(60)
    assert patience.wait(0.001)
    assert 0 < patience.left() < 60
    assert not patience.wait(61)
    over = Patience(-1)
    assert not over.wait(0)
    over.rest(61)
    assert over.left() < 0


WANTS = [{"type": "dns", "value": "a.test"}]


@pytest.mark.parametrize(("profile", "lifetime", "fields"), [
    ("", None, {}),
    ("short", None, {"profile": "short"}),
    ("", 90.0, {"notAfter": "2026-11-25T12:01:30Z"}),
])  # fmt: skip
def test_what_is_ordered(profile: str, lifetime: float | None, fields: dict[str, str]) -> None:
    """The names, and only what is configured beside them."""
    assert {"identifiers": WANTS, **fields} == wish(WANTS, profile, {"short": "", "long": ""}, lifetime, NOW)


@pytest.mark.parametrize(("offered", "words"), [({"b": "", "a": ""}, "are: a, b"), ({}, "are: none")])
def test_a_profile_that_is_not_offered(offered: dict[str, str], words: str) -> None:
    """Refused before anything is ordered, with what there is."""
    with pytest.raises(AuthorityError, match=f"cannot order profile 'short': the CA's profiles {words}") as caught:
        wish(WANTS, "short", offered, None, NOW)
    assert caught.value.refused


@pytest.mark.parametrize(("code", "again"), [
    ("alreadyReplaced", True),
    ("malformed", True),
    ("rateLimited", False),
    ("accountDoesNotExist", False),
])  # fmt: skip
def test_an_order_without_what_it_replaces(code: str, *, again: bool) -> None:
    """Whatever the CA has against it; not where it is about us: another order would be as bad."""
    problem = messages.Error.from_json({"type": f"urn:ietf:params:acme:error:{code}", "detail": ""})
    assert again == without_it(problem)


def meta(**fields: Any) -> messages.Directory.Meta:
    return messages.Directory.Meta.from_json(fields)


TERMS = {"termsOfService": "https://ca/terms"}


def test_the_terms_of_a_ca() -> None:
    """Agreed to where the configuration says so; none where there are none."""
    assert (None, None) == (agreed(meta(), accepted=False), agreed(meta(), accepted=True))
    assert agreed(meta(**TERMS), accepted=True)
    with pytest.raises(AuthorityError, match="read https://ca/terms and set terms_accepted = true") as caught:
        agreed(meta(**TERMS), accepted=False)
    assert caught.value.refused


def test_an_account_that_a_ca_binds_to_its_own() -> None:
    """Without a binding it is not asked for."""
    with pytest.raises(AuthorityError, match="set eab_kid and eab_key") as caught:
        registration(meta(externalAccountRequired=True), (), None, None)
    assert "credentials" == caught.value.kind
    for required, binding in ((True, {"a": "b"}), (False, None)):
        asked = registration(meta(externalAccountRequired=required), ["mailto:a@b"], True, binding)
        assert (("mailto:a@b",), True, binding) == (
            asked.contact,
            asked.terms_of_service_agreed,
            asked.external_account_binding,
        )


NAME = dns.name.from_text("_acme-challenge.a.test")


def told_by_dns(text: str) -> dns.message.Message:
    return dns.message.from_text(f"id 1\nopcode QUERY\nrcode NOERROR\nflags QR\n{text}")


def test_where_an_alias_points() -> None:
    """The CNAME of this very name; that of another, or another record of this one, is none."""
    pointing = told_by_dns(f";ANSWER\n{NAME} 60 IN CNAME a.elsewhere.\n")
    other = told_by_dns(f";ANSWER\nb.test. 60 IN CNAME a.elsewhere.\n{NAME} 60 IN TXT x\n")
    assert dns.name.from_text("a.elsewhere.") == alias(pointing, NAME)
    assert [None, None] == [alias(other, NAME), alias(told_by_dns(""), NAME)]


SOA = "60 IN SOA ns. host. 1 2 3 4 5"


@pytest.mark.parametrize("section", ["ANSWER", "AUTHORITY"])
def test_the_zone_of_a_name(section: str) -> None:
    """Whichever section names it; one that the name is not in is not it."""
    assert dns.name.from_text("test.") == zone_of(told_by_dns(f";{section}\ntest. {SOA}\n"), NAME, "ns")
    for text in ("", f";{section}\nelsewhere. {SOA}\n", f";{section}\ntest. 60 IN NS ns.\n"):
        with pytest.raises(AuthorityError, match="at ns: set dns_zone") as caught:
            zone_of(told_by_dns(text), NAME, "ns")
        assert caught.value.refused


def test_the_values_of_a_name() -> None:
    """Every TXT record, its strings as one."""
    found = told_by_dns(f';ANSWER\n{NAME} 60 IN TXT "one" "two"\n{NAME} 60 IN TXT "three"\n{NAME} 60 IN CNAME x.\n')
    assert ({"onetwo", "three"}, set()) == (texts(found), texts(told_by_dns("")))


@pytest.mark.parametrize(("code", "kind"), [
    (dns.rcode.REFUSED, "refused"),
    (dns.rcode.NOTAUTH, "credentials"),
    (dns.rcode.SERVFAIL, "failed"),
])  # fmt: skip
def test_an_update_that_was_not_made(code: dns.rcode.Rcode, kind: str) -> None:
    """By policy, by the key, or the server is not well."""
    answer = told_by_dns("")
    assert refusal(answer, "update x") is None
    answer.set_rcode(code)
    error = refusal(answer, "update x")
    assert error is not None
    assert kind == error.kind
    assert str(error).startswith(f"cannot update x: {dns.rcode.to_text(code)}; check the zone's update policy")
