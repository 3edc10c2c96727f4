"""What an ACME server's documents mean, and how long it is waited for: values in, values out. One row a rule."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.rcode
import pytest
from acme import messages
from hypothesis import given
from hypothesis import strategies as st

from certagent import x509
from certagent.authority.backends.acme.account import agreed, registration
from certagent.authority.backends.acme.alpn import Alpn
from certagent.authority.backends.acme.ari import place, window
from certagent.authority.backends.acme.dns01 import Hook, Update, alias, refusal, texts, zone_of
from certagent.authority.backends.acme.limits import Failures
from certagent.authority.backends.acme.options import Options
from certagent.authority.backends.acme.order import asked_for, reached, wish, without_it
from certagent.authority.backends.acme.polling import Patience, pauses
from certagent.authority.backends.acme.proving import Authorization, ValidationFailedError, proven, reported, responder
from certagent.authority.backends.acme.web import Standalone, Webroot
from certagent.authority.errors import AuthorityError
from certagent.state.authority_state import AuthorityState
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
def test_acme_order_status_ready_or_polled_again(status: str, wanted: set[str], *, there: bool) -> None:
    """The order is in the wanted state, or has to be polled again."""
    assert there == reached(order(status), wanted)


def test_acme_order_invalid_reports_problem() -> None:
    """The CA's own problem document, if there is one, says who can act."""
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
def test_acme_order_retry_after_is_honoured(status: str, at: datetime | None, seconds: float) -> None:
    """The CA's Retry-After counts while the order is processing."""
    assert seconds == asked_for(status, at, NOW)


def authorization(status: str, problem: dict[str, str] | None = None) -> Authorization:
    challenge = {"type": "http-01", "url": "https://ca/c", "token": "t", "status": status, "error": problem}
    whole = {"identifier": {"type": "dns", "value": "a.test"}, "status": status, "challenges": [challenge]}
    return Authorization.of(whole)


def test_acme_authorization_valid_or_pending() -> None:
    """A valid authorization is done, a pending one is not."""
    assert proven(authorization("valid"), "http-01")
    assert not proven(authorization("pending"), "http-01")


@pytest.mark.parametrize(("status", "problem", "words"), [
    ("invalid", PROBLEM, "caa: «not this CA»; allow this CA in the domain's CAA record"),
    ("invalid", None, "the authorization is invalid"),
    ("expired", None, "the authorization is expired"),
])  # fmt: skip
def test_acme_authorization_invalid_is_refused(status: str, problem: dict[str, str] | None, words: str) -> None:
    """Refused, with the CA's own explanation if there is one."""
    with pytest.raises(AuthorityError) as caught:
        proven(authorization(status, problem), "http-01")
    assert f"http-01 validation of a.test failed: {words}" == str(caught.value)
    assert caught.value.refused


def test_acme_responder_by_configured_challenge() -> None:
    """Each challenge type has its own responder."""
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


def test_acme_renewal_info_url_of_live_certificate() -> None:
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
def test_acme_renewal_info_url_missing_or_malformed_is_none(
    fields: dict[str, Any], live: str, kind: str, words: str
) -> None:
    """A CA without the extension, a malformed URL, and a file that is not a certificate."""
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
def test_acme_renewal_window_is_read(retry_at: datetime | None, again: timedelta) -> None:
    """In UTC, its explanation printable and in marks; asked for again at Retry-After, within a minute and a day."""
    found = window(told("2026-12-01T02:00:00+02:00", "2026-12-02T00:00:00Z"), retry_at, NOW)
    moments = [datetime.fromtimestamp(at, UTC) for at in (found.start, found.end)]
    assert [datetime(2026, 12, 1, tzinfo=UTC), datetime(2026, 12, 2, tzinfo=UTC)] == moments
    assert (again.total_seconds(), "«https://ca/ why»") == (found.again_at - NOW.timestamp(), found.explanation)


def test_acme_renewal_window_end_before_start_is_none() -> None:
    """A window whose end is not after its start is ignored."""
    with pytest.raises(AuthorityError, match="the window ends before it starts") as caught:
        window(told("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"), None, NOW)
    assert "malformed" == caught.value.kind


def test_acme_poll_pause_doubles_to_maximum() -> None:
    """The pause doubles each time, up to the longest."""
    assert [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0] == [*islice(pauses(), 9)]


def test_acme_poll_deadline_exceeded_returns_immediately() -> None:
    """A wait within the deadline is waited, one beyond it returns immediately; a pause ends at the deadline."""
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
def test_acme_order_contents(profile: str, lifetime: float | None, fields: dict[str, str]) -> None:
    """The names, and only the configured options besides."""
    assert {"identifiers": WANTS, **fields} == wish(WANTS, profile, {"short": "", "long": ""}, lifetime, NOW)


@pytest.mark.parametrize(("offered", "words"), [({"b": "", "a": ""}, "are: «a, b»"), ({}, "are: none")])
def test_acme_profile_not_offered_is_refused(offered: dict[str, str], words: str) -> None:
    """Refused before anything is ordered, with the profiles that the CA offers."""
    with pytest.raises(AuthorityError, match=f"cannot order profile 'short': the CA's profiles {words}") as caught:
        wish(WANTS, "short", offered, None, NOW)
    assert caught.value.refused


@pytest.mark.parametrize(("code", "again"), [
    ("alreadyReplaced", True),
    ("malformed", True),
    ("rateLimited", False),
    ("accountDoesNotExist", False),
])  # fmt: skip
def test_acme_order_replaces_rejected_is_retried_without(code: str, *, again: bool) -> None:
    """Retried whatever the CA has against `replaces`; not after an error of the account: it would fail again."""
    problem = messages.Error.from_json({"type": f"urn:ietf:params:acme:error:{code}", "detail": ""})
    assert again == without_it(problem)


def meta(**fields: Any) -> messages.Directory.Meta:
    return messages.Directory.Meta.from_json(fields)


TERMS = {"termsOfService": "https://ca/terms"}


def test_acme_terms_of_service_agreed_if_configured() -> None:
    """Agreed to if the configuration says so; not needed if the CA has none."""
    assert (None, None) == (agreed(meta(), accepted=False), agreed(meta(), accepted=True))
    assert agreed(meta(**TERMS), accepted=True)
    with pytest.raises(AuthorityError, match="read https://ca/terms and set terms_accepted = true") as caught:
        agreed(meta(**TERMS), accepted=False)
    assert caught.value.refused


def test_acme_external_account_binding_missing_is_refused() -> None:
    """A CA that requires a binding is not asked for an account without one."""
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


def test_acme_dns_alias_is_cname_of_exact_name() -> None:
    """The CNAME of exactly this name counts; that of another name, or another record type, does not."""
    pointing = told_by_dns(f";ANSWER\n{NAME} 60 IN CNAME a.elsewhere.\n")
    other = told_by_dns(f";ANSWER\nb.test. 60 IN CNAME a.elsewhere.\n{NAME} 60 IN TXT x\n")
    assert dns.name.from_text("a.elsewhere.") == alias(pointing, NAME)
    assert [None, None] == [alias(other, NAME), alias(told_by_dns(""), NAME)]


SOA = "60 IN SOA ns. host. 1 2 3 4 5"


@pytest.mark.parametrize("section", ["ANSWER", "AUTHORITY"])
def test_acme_dns_zone_is_read_from_any_section(section: str) -> None:
    """Any section of the answer may name the zone; a zone that does not contain the name does not count."""
    assert dns.name.from_text("test.") == zone_of(told_by_dns(f";{section}\ntest. {SOA}\n"), NAME, "ns")
    for text in ("", f";{section}\nelsewhere. {SOA}\n", f";{section}\ntest. 60 IN NS ns.\n"):
        with pytest.raises(AuthorityError, match="at ns: set dns_zone") as caught:
            zone_of(told_by_dns(text), NAME, "ns")
        assert caught.value.refused


def test_acme_dns_txt_values_are_joined() -> None:
    """Every TXT record, its strings joined."""
    found = told_by_dns(f';ANSWER\n{NAME} 60 IN TXT "one" "two"\n{NAME} 60 IN TXT "three"\n{NAME} 60 IN CNAME x.\n')
    assert ({"onetwo", "three"}, set()) == (texts(found), texts(told_by_dns("")))


@pytest.mark.parametrize(("code", "kind"), [
    (dns.rcode.REFUSED, "refused"),
    (dns.rcode.NOTAUTH, "credentials"),
    (dns.rcode.SERVFAIL, "failed"),
])  # fmt: skip
def test_acme_dns_update_refused_or_failed(code: dns.rcode.Rcode, kind: str) -> None:
    """Refused by policy, refused for the key, or a server failure."""
    answer = told_by_dns("")
    assert refusal(answer, "update x") is None
    answer.set_rcode(code)
    error = refusal(answer, "update x")
    assert error is not None
    assert kind == error.kind
    assert str(error).startswith(f"cannot update x: {dns.rcode.to_text(code)}; check the zone's update policy")


LIMITED, URL = "n1.test", "https://ca.test/dir"


def failures(shared: dict[str, Any], minutes: float) -> Failures:
    return Failures(shared, URL, NOW + timedelta(minutes=minutes))


def test_acme_failed_validations_are_limited_to_five_in_an_hour() -> None:
    """The fifth failure within an hour blocks the name until an hour after the first, and no other name."""
    shared: dict[str, Any] = {"accounts": {}}
    for minute in range(4):
        failures(shared, minute).add(LIMITED)
        assert failures(shared, minute).until(LIMITED) is None
    failures(shared, 4).add(LIMITED)
    assert NOW + timedelta(hours=1) == failures(shared, 4).until(LIMITED)
    with pytest.raises(AuthorityError, match="the next is at 20") as caught:
        failures(shared, 59).check({"other.test", LIMITED})
    assert ("rate-limited", NOW + timedelta(hours=1)) == (caught.value.kind, caught.value.retry_at)
    failures(shared, 59).check({"other.test"})
    Failures(shared, "https://other.test/dir", NOW + timedelta(minutes=5)).check({LIMITED})
    failures(shared, 60.1).check({LIMITED})
    failures(shared, 60.1).add(LIMITED)
    assert NOW + timedelta(minutes=61) == failures(shared, 60.2).until(LIMITED)
    assert {"accounts"} == set(shared) - {k for k in shared if k.startswith("failed validation")}
    failures(shared, 500)
    assert {"accounts": {}} == shared


@given(st.lists(st.floats(0.01, 40), min_size=6, max_size=60))
def test_acme_failed_validations_are_five_in_any_hour_however_often_it_is_asked(pauses: list[float]) -> None:
    """Whenever a name is asked for that fails each time, no hour sees a sixth failure, and the next one is allowed."""
    shared, failed, now = dict[str, Any](), list[float](), 0.0
    for pause in pauses:
        now += pause
        if failures(shared, now).until(LIMITED) is None:
            failures(shared, now).add(LIMITED)
            failed.append(now)
    assert all(later - earlier >= 59.99 for earlier, later in zip(failed, failed[5:], strict=False))
    assert len(failed) >= min(len(pauses), 5)


def test_acme_failed_validation_of_the_future_is_no_failure() -> None:
    """A clock that was ahead for a moment blocks no name until it is reached."""
    shared: dict[str, Any] = {}
    for minute in range(600, 605):
        failures(shared, minute).add(LIMITED)
    failures(shared, 0).check({LIMITED})
    assert {} == shared


def test_acme_concurrent_failed_validations_are_both_counted(tmp_path: Path) -> None:
    """Two certs-dirs fail at the same name at once, each from the same memory: both failures are kept."""
    book = AuthorityState(str(tmp_path))
    for directory, minute in (("one", 0), ("two", 1)):
        shared: dict[str, Any] = {}
        failures(shared, minute).add(LIMITED)
        book.write("public", directory, {}, shared, {})
    assert 2 == len(book.read("public", "")[0])


def failure(name: str, retry_at: datetime | None = None) -> ValidationFailedError:
    return ValidationFailedError(f"cannot validate {name}", name, kind="refused", retry_at=retry_at)


@pytest.mark.parametrize(("limits", "asked", "name", "retry_at"), [
    ((None, None), None, "a", None),
    ((None, NOW + timedelta(hours=1)), None, "b", NOW + timedelta(hours=1)),
    ((NOW + timedelta(hours=2), NOW + timedelta(hours=1)), None, "a", NOW + timedelta(hours=2)),
    ((None, NOW + timedelta(hours=1)), NOW + timedelta(hours=3), "b", NOW + timedelta(hours=3)),  # the CA's own word
])  # fmt: skip
def test_acme_failed_validation_with_the_last_limit_is_reported(
    limits: tuple[datetime | None, datetime | None], asked: datetime | None, name: str, retry_at: datetime | None
) -> None:
    """The name whose limit ends last decides when the next attempt is useful; without a limit the first one is told."""
    found = reported([(failure(n, asked), at) for n, at in zip("ab", limits, strict=True)])
    assert (name, retry_at) == (found.name, found.retry_at)
    assert (retry_at is None) == (str(found) == f"cannot validate {name}")
