"""Facts -> actions, held, findings: one row per rule of the plan."""

from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest

from certagent.core.actions import Adopt, Install, Issue, Plan, Recover, RejectStaged, Restrict, subject_of, word_of
from certagent.core.catalogue import WATCH_DEGRADED
from certagent.core.decide import decide, severity
from certagent.core.facts import (
    Adopted,
    Attempt,
    Authority,
    CertFile,
    Clock,
    Directory,
    InFlight,
    ObserveOnly,
    Pair,
    Pairs,
    Repair,
    Request,
    Snapshot,
    Trust,
    Why,
)
from certagent.core.policy import Policy, Want
from certagent.core.predict import forecast
from certagent.core.requests import fulfilled
from certagent.core.status import certs_dir
from tests.core.building import (
    DAY,
    NOW,
    VOLUME,
    file,
    generation,
    leaf,
    name_of,
    pair,
    policy,
    process,
    served,
    snapshot,
    staged,
    want,
)

MINUTE = timedelta(minutes=1)


SERVING = {"processes": (process(),), "served": (served(),)}


def plan(found: Snapshot, rules: Policy | None = None) -> Plan:
    return decide(rules or policy(), found, NOW)


def kinds(found: Plan) -> list[str]:
    return [word_of(a) for a in found.actions]


def codes(found: Plan) -> list[str]:
    return [f.code for f in found.findings]


def foreign(found: Snapshot) -> Snapshot:
    """The same, but somebody else made the pairs and this agent took note of it."""
    adopted = tuple(Adopted(p.name.stem, p.leaf.fingerprint, want().digest) for p in found.pairs if p.leaf and p.key)
    return replace(found, issued=frozenset(), adopted=adopted)


DUE = pair(cert=leaf(not_before=NOW - 21 * DAY, not_after=NOW + 9 * DAY))
NO_SAN = pair(cert=leaf(dns=()))
HEALTHY = snapshot()


def changed(ago: timedelta, **halves: bool) -> Snapshot:
    """A new key beside the old certificate, both put there a while ago; without one half where that is False."""
    at = int((NOW - ago).timestamp() * 1_000_000_000)
    made, other = pair(), pair(cert=leaf(serial=3))
    assert made.cert is not None
    assert other.key is not None
    cert = replace(made.cert, file=file("node.crt", 0o644, ctime_ns=at)) if halves.get("cert", True) else None
    key = replace(other.key, file=file("node.key", ctime_ns=at)) if halves.get("key", True) else None
    return snapshot(pair("ca"), replace(made, cert=cert, key=key))


SETTLING = [
    ("two halves, just now", changed(timedelta(0)), False),
    ("two halves, nine seconds ago", changed(timedelta(seconds=9)), False),
    ("a certificate alone", changed(timedelta(seconds=1), key=False), False),
    ("a key alone", changed(timedelta(seconds=1), cert=False), False),
    ("ten seconds ago", changed(timedelta(seconds=10)), True),
    ("while the directory was read", changed(-timedelta(milliseconds=300)), False),
    ("in the future: the clock was set back", changed(-MINUTE), True),
    ("neither half", changed(timedelta(0), cert=False, key=False), True),
    ("asked for", replace(changed(timedelta(0)), requests=(Request("renew", "node", NOW),)), True),
]


@pytest.mark.parametrize(("label", "found", "issues"), SETTLING, ids=[r[0] for r in SETTLING])
def test_manual_change_settles_ten_seconds_first(label: str, found: Snapshot, issues: bool) -> None:
    """Ten seconds for the second file of a pair: a CA asked meanwhile would race the operator who copies it."""
    made = plan(found)
    assert ("issue" in kinds(made)) == issues, label
    if not issues:
        assert any("may be incomplete" in h.reason for h in made.blocked)
        assert made.wake_at is not None
        assert NOW < made.wake_at <= NOW + timedelta(seconds=10)


def test_healthy_directory_needs_no_action() -> None:
    """Valid certificates, and nothing else: no action, nothing blocked, and the next check is the renewal point."""
    found = plan(HEALTHY)
    assert (found.actions, found.blocked) == ((), ())
    assert codes(found) == ["process.none"]
    assert found.wake_at is not None
    assert found.wake_at > NOW


ISSUES = [
    ("due", snapshot(pair("ca"), DUE), "renewal has been due since"),
    (
        "an emergency",
        snapshot(pair("ca"), pair(cert=leaf(not_before=NOW - 29 * DAY, not_after=NOW + DAY))),
        "less than 5 % of the lifetime is left",
    ),
    ("missing", snapshot(pair("ca")), "node.crt is missing"),
    ("the key is missing", snapshot(pair("ca"), replace(pair(), key=None)), "node.key is missing"),
    ("the certificate is missing", snapshot(pair("ca"), replace(pair(), cert=None)), "node.crt is missing"),
    ("a mismatch", snapshot(pair("ca"), replace(pair(), key=pair(cert=leaf(serial=3)).key)), "does not match"),
    ("a new SAN is configured", snapshot(pair("ca"), NO_SAN), "lacks the configured names"),
    ("requested by an operator", snapshot(requests=(Request("renew", "node", NOW),)), "requested by an operator"),
    ("no bundle", snapshot(replace(pair("ca"), cert=None), pair()), "ca.crt is missing"),
]


@pytest.mark.parametrize(("label", "found", "reason"), ISSUES, ids=[r[0] for r in ISSUES])
def test_issue_for_each_reason(label: str, found: Snapshot, reason: str) -> None:
    """Each reason to ask a CA leads to exactly one request, which carries it."""
    actions = [a for a in plan(found).actions if isinstance(a, Issue)]
    assert len(actions) == 1, label
    assert reason in actions[0].reason


@pytest.mark.parametrize("outcome", ["asked", "ok"])
def test_issue_reason_is_not_a_failure(outcome: Literal["asked", "ok"]) -> None:
    """An issuance that runs, or was answered and is not installed yet, carries its reason, and is not a finding."""
    made = Attempt("issue", "node", NOW - timedelta(seconds=1), outcome, "node.crt is missing", authority="house")
    assert not {c for c in codes(plan(replace(ISSUES[0][1], attempts=(made,)))) if c.startswith("renewal.")}


JUST = Attempt("issue", "node", NOW - timedelta(seconds=1), "failed", "unreachable")
ROOTS = Authority("house", "local", (leaf("ca", 77, spki="another root"),))
HELD = [
    ("a failure a second ago", replace(ISSUES[0][1], attempts=(JUST,)), "attempt 2 waits for the backoff"),
    ("the clock is unsound", replace(ISSUES[0][1], clock=Clock(sound=False, reason="1970")), "; 1970"),
    ("the ledger is full", replace(ISSUES[0][1], ledger_problem="disk full"), "ledger cannot be written"),
    (
        "the root is not in the bundle",
        replace(ISSUES[0][1], authorities=(ROOTS,)),
        "ca.crt does not contain the root of",
    ),
    (
        "a name would vanish",
        snapshot(pair("ca"), pair(cert=leaf(dns=("db1.example.com", "old"), not_after=NOW + DAY))),
        "not configured (old)",
    ),
    ("no bundle yet", snapshot(replace(pair("ca"), cert=None)), "ca.crt is needed first"),
]


@pytest.mark.parametrize(("label", "found", "reason"), HELD, ids=[r[0] for r in HELD])
def test_issue_blocked_with_reason(label: str, found: Snapshot, reason: str) -> None:
    """A request that is known to be pointless or dangerous is blocked with its reason, and no CA is asked."""
    made = plan(found)
    assert not [a for a in made.actions if isinstance(a, Issue) and a.subject == "node"], label
    assert [h for h in made.blocked if reason in h.reason], (label, made.blocked)


def test_issue_in_flight_or_staged_is_not_repeated() -> None:
    """A request that is in flight, or whose answer is staged, is not made again."""
    due = ISSUES[0][1]
    assert "issue" not in kinds(plan(replace(due, in_flight=(InFlight("issue", "node", NOW),))))
    assert "issue" not in kinds(plan(replace(due, staged=(staged(),))))


@pytest.mark.parametrize(
    ("problem", "said"),
    [(None, "the roots that verify it have not responded yet"), ("ca.crt cannot be read", "ca.crt cannot be read, so")],
)
def test_bundle_unreadable_staged_pair_waits(problem: str | None, said: str) -> None:
    """What it is verified by cannot be read: a staged pair is not installed or discarded, its CA not blamed."""
    unread = Trust("ca", problem, unread=True)
    waits = staged(pair=replace(pair("node", leaf(serial=2)), trust=unread))
    made = decide(policy(want("ca"), want("node")), snapshot(pair("ca"), pair("node"), staged=(waits,)), NOW)
    assert not [a for a in made.actions if isinstance(a, Install | RejectStaged | Issue)]
    assert [said in h.reason for h in made.blocked] == [True]


def test_system_roots_unreadable_staged_pair_waits() -> None:
    """The system's roots did not answer: a staged pair is not installed or discarded, the live one has no finding."""
    unread = Trust("system", unread=True)
    wants = policy(want("ca"), want("node"), want("ui"))
    waits = staged(
        "ui", pair=replace(pair("ui", leaf("ui", 2, not_before=NOW, not_after=NOW + 30 * DAY)), trust=unread)
    )
    live = snapshot(pair("ca"), pair("node"), replace(pair("ui"), trust=unread))
    made = decide(wants, replace(live, staged=(waits,)), NOW)
    assert not [a for a in made.actions if isinstance(a, Install | RejectStaged | Issue)]
    assert ["the roots that verify it have not responded yet" in h.reason for h in made.blocked] == [True]
    assert "cert.untrusted" not in {f.code for f in made.findings}


SWAPS = Attempt("install", "node", NOW - timedelta(seconds=3), "failed", "disk full", fingerprint="node-2")


def test_swap_failed_backoff() -> None:
    """A swap that failed is tried again after 1 s, 2 s, 4 s ...; one to another certificate immediately."""
    found = snapshot(pair("ca"), DUE, staged=(staged(),))
    tried = replace(SWAPS, fingerprint=staged().pair.cert.leaf.fingerprint)  # type: ignore[union-attr]
    assert kinds(plan(replace(found, attempts=(tried,)))) == ["install"]
    held = plan(replace(found, attempts=(tried, tried, tried)))
    assert kinds(held) == []
    assert [(h.action, h.until) for h in held.blocked] == [("install", NOW + timedelta(seconds=1))]
    other = replace(SWAPS, fingerprint="node-3")
    assert kinds(plan(replace(found, attempts=(other, other, other)))) == ["install"]


def test_renewal_refused_is_told_apart_from_failing() -> None:
    """The CA's policy or the pre-install checks said no: `renewal.refused`; there was no answer: `renewal.failing`."""
    old = [replace(JUST, at=NOW - n * MINUTE, reason="no") for n in range(9)]
    for outcome, code in (("failed", "renewal.failing"), ("refused", "renewal.refused")):
        tried = tuple(replace(a, outcome=outcome) for a in old)  # type: ignore[arg-type]
        found = [plan(replace(ISSUES[0][1], attempts=tried[:n])).findings for n in (1, 4)]
        told = [[f for f in group if f.code.startswith("renewal.")] for group in found]
        assert [[(code, "warning")], [(code, "critical")]] == [[(f.code, f.severity) for f in group] for group in told]


def test_renewal_rejected_by_pre_install_checks_is_refused() -> None:
    """An answer that the pre-install checks rejected counts as refused, with their reason."""
    gate = Attempt("install", "node", NOW, "refused", "a handshake with the new certificate fails: bad")
    found = plan(replace(ISSUES[0][1], attempts=(replace(JUST, outcome="ok", reason=""), gate)))
    assert ["attempt 1 was refused: a handshake with the new certificate fails: bad"] == [
        f.message for f in found.findings if f.code == "renewal.refused"
    ]


@pytest.mark.parametrize(("roots", "hinted"), [("", True), ("/etc/browsers.pem", False)])
def test_refused_ui_names_browser_roots(roots: str, *, hinted: bool) -> None:
    """The system's roots verify `ui` by default: the remedy names the setting for other roots, unless it is set."""
    tried = (replace(JUST, subject="ui", outcome="refused"),)
    found = plan(replace(snapshot(), attempts=tried), policy(want("ca"), want("ui", roots=roots)))
    [told] = [f for f in found.findings if f.code == "renewal.refused"]
    assert hinted == ("[certs_dir.file.ui]" in told.remedy)


def test_unsound_clock_is_not_a_refusal() -> None:
    """A renewal that the clock or the ledger blocks has a finding of its own."""
    for held in (HELD[1][1], HELD[2][1]):
        assert "renewal.refused" not in codes(plan(held))
    assert "renewal.refused" in codes(plan(HELD[3][1]))


def test_adoption_first_day_changes_nothing() -> None:
    """Valid pairs of `cockroach cert` are adopted: no request, no signal; differences are findings and blocked."""
    found = replace(snapshot(pair("ca"), NO_SAN), issued=frozenset())
    made = plan(found)
    assert kinds(made) == ["adopt"]
    assert "cert.san" in codes(made)
    assert ["issue"] == [h.action for h in made.blocked]
    assert "certagent renew node" in made.blocked[0].reason


def test_adoption_is_recorded_once() -> None:
    """An adopted pair is not adopted again, and stays while the configuration stays."""
    assert kinds(plan(foreign(snapshot(pair("ca"), NO_SAN)))) == []


def test_adopted_pair_is_reissued_after_configuration_change() -> None:
    """The configuration changed after the adoption: now the difference is asked for."""
    found = foreign(snapshot(pair("ca"), NO_SAN))
    rules = policy(want("ca"), want(names=("db1.example.com", "10.0.0.5", "new")))
    assert ["issue"] == kinds(plan(found, rules))


RSA = want(key="rsa-4096", key_configured=True)


@pytest.mark.parametrize(
    ("found", "wanted", "reason"),
    [
        (snapshot(), RSA, "the key is ecdsa-p256, but rsa-4096 is configured"),
        (foreign(snapshot()), RSA, "the key is ecdsa-p256, but rsa-4096 is configured"),
        (snapshot(), want(key="rsa-4096"), None),
        (snapshot(), replace(RSA, reuse_key=True), None),
        (snapshot(pair("ca"), pair(cert=leaf(key="rsa-4096"))), RSA, None),
    ],
    ids=["ours", "adopted before it was configured", "a default", "reused", "the same"],
)
def test_key_type_changed_is_issued_immediately(found: Snapshot, wanted: Want, reason: str | None) -> None:
    """As a changed name is: unless the key is reused, or the configuration does not name a type."""
    made = plan(found, policy(want("ca"), wanted))
    assert [a.reason for a in made.actions if isinstance(a, Issue)] == ([reason] if reason else [])


def test_key_type_changed_is_blocked_for_adopted_pair() -> None:
    """An externally made pair stays until it is due; the finding says what differs, and what changes it now."""
    adopted = replace(foreign(snapshot()), adopted=(Adopted("node", "node-1", RSA.digest),))
    made = plan(adopted, policy(want("ca"), RSA))
    assert (kinds(made), codes(made)) == ([], ["cert.key", "process.none"])
    assert "rsa-4096 is configured; certagent did not issue this pair and keeps it until" in made.blocked[0].reason


def test_key_type_changed_with_reuse_key_is_reported() -> None:
    """Nothing changes, so the finding says what would change it."""
    [told] = [f for f in plan(snapshot(), policy(want("ca"), replace(RSA, reuse_key=True))).findings if f.remedy][:1]
    assert (told.code, told.remedy) == ("cert.key", "set reuse_key = false until the pair is renewed")


def test_adopted_pair_is_renewed_when_due() -> None:
    """The origin of a pair does not matter once it is due."""
    assert "issue" in kinds(plan(foreign(snapshot(pair("ca"), DUE))))


def test_authority_none_issues_nothing() -> None:
    """`authority` none: findings, modes, reloads and verification, but no request."""
    rules = policy(want("ca", authorities=()), want(authorities=()))
    made = plan(snapshot(pair("ca"), replace(pair(), cert=None)), rules)
    assert kinds(made) == []
    assert "cert.missing" in codes(made)


def test_names_unconfigured_are_taken_from_live_pair() -> None:
    """Without configured names the request repeats the live certificate's."""
    rules = policy(want("ca"), want(names=None))
    found = plan(snapshot(pair("ca"), DUE), rules).actions[0]
    assert isinstance(found, Issue)
    assert found.names == ("db1.example.com", "10.0.0.5")


def test_install_valid_staged_pair() -> None:
    """A valid staged pair causes the install, by the digests that were judged."""
    found = plan(snapshot(pair("ca"), DUE, staged=(staged(),))).actions
    assert [Install] == [type(a) for a in found]
    assert isinstance(found[0], Install)
    assert found[0].digests == staged().pair.digests
    assert (found[0].key_mode, found[0].uid) == (0o600, 999)


DISCARDS = [
    ("refused by the pre-install checks", staged(handshake="bad"), "handshake"),
    ("rolled back before", staged(cert=leaf(serial=66, not_after=NOW + 30 * DAY)), "rolled back"),
    ("nobody wants it", staged("client.eve"), "not configured"),
]


@pytest.mark.parametrize(("label", "answer", "reason"), DISCARDS, ids=[r[0] for r in DISCARDS])
def test_discard_staged_pair_with_reason(label: str, answer: object, reason: str) -> None:
    """A staged pair that must not go live is discarded with the reason."""
    found = plan(snapshot(pair("ca"), DUE, staged=(answer,), quarantined=frozenset({"node-66"}))).actions
    assert [reason in a.reason for a in found if isinstance(a, RejectStaged)] == [True], label
    assert not [a for a in found if isinstance(a, Install)]


AHEAD = [
    ("a second", timedelta(seconds=1), []),
    ("five minutes", 5 * MINUTE, []),
    ("more than a clock is wrong by", 5 * MINUTE + timedelta(seconds=1), ["discard"]),
    ("just valid", timedelta(0), ["install"]),
]


@pytest.mark.parametrize(("label", "ahead", "expected"), AHEAD, ids=[r[0] for r in AHEAD])
def test_staged_not_before_in_future_waits_five_minutes(label: str, ahead: timedelta, expected: list[str]) -> None:
    """A certificate that begins within five minutes waits for it, and is judged then; a later one is refused."""
    answer = staged(cert=leaf(serial=2, not_before=NOW + ahead, not_after=NOW + 30 * DAY), handshake=None)
    made = plan(snapshot(pair("ca"), DUE, staged=(answer,)))
    assert [k for k in kinds(made) if k in {"install", "discard"}] == expected, label
    assert expected or NOW + ahead in [h.until for h in made.blocked if h.action == "install"]


def test_unsound_clock_installs_nothing() -> None:
    """Whether a staged pair is valid cannot be decided then: it waits."""
    found = plan(snapshot(pair("ca"), DUE, staged=(staged(),), clock=Clock(sound=False, reason="1970")))
    assert kinds(found) == []


def test_interrupted_swap_is_recovered_first() -> None:
    """An intent file exists: nothing is judged before the swap is finished or undone."""
    found = snapshot(pair("ca"), DUE)
    found = replace(found, directory=replace(found.directory, interrupted=True))
    assert [Recover] == [type(a) for a in plan(found).actions]


def test_key_mode_wide_is_restricted() -> None:
    """A key that others may read gets its mode, whatever else is wrong."""
    made = plan(snapshot(pair("ca"), pair(mode=0o644), ledger_problem="disk full", clock=Clock(sound=False)))
    assert [("node.key", 0o600)] == [(a.file, a.mode) for a in made.actions if isinstance(a, Restrict)]


def test_enforce_report_only_finds() -> None:
    """`enforce = "report"`: the finding, and no repair."""
    made = plan(snapshot(pair("ca"), pair(mode=0o644)), policy(enforce="report"))
    assert (kinds(made), "key.mode" in codes(made)) == ([], True)


def test_key_root_group_0640_is_accepted() -> None:
    """root:cockroach 0640 is the other mode that cockroach accepts: no finding, no repair."""
    key = pair().key
    assert key is not None
    shared = replace(pair(), key=replace(key, file=file("node.key", 0o640, uid=0)))
    made = plan(snapshot(pair("ca"), shared))
    assert (kinds(made), codes(made)) == ([], ["process.none"])


def test_repairs_in_future_do_not_count() -> None:
    """The clock was set back: repairs that lie in the future now do not count."""
    ahead = tuple(Repair("node.key", NOW + n * MINUTE, ok=n != 1) for n in range(1, 9))
    assert kinds(plan(snapshot(pair("ca"), pair(mode=0o644), repairs=ahead))) == ["restrict"]


def test_owner_of_key_is_never_repaired() -> None:
    """A file of root's that somebody gave the name of a key is not handed out: the owner is a finding with a remedy."""
    key = pair().key
    assert key is not None
    moved = replace(pair(), key=replace(key, file=file("node.key", 0o600, uid=0, gid=0)))
    made = plan(snapshot(pair("ca"), moved, euid=0))
    assert kinds(made) == []
    assert [f.remedy for f in made.findings if f.code == "key.owner"] == ["chown 999:999 /certs/node.key"]


def test_unprivileged_agent_key_of_root_is_finding() -> None:
    """A key that root left behind is a finding with the exact chown; no attempt is made."""
    key = pair().key
    assert key is not None
    left = replace(pair(), key=replace(key, file=file("node.key", 0o644, uid=0, gid=0)))
    made = plan(snapshot(pair("ca"), left, euid=999))
    assert kinds(made) == []
    assert {"key.mode", "key.owner"} <= set(codes(made))
    assert ["restrict"] == kinds(plan(snapshot(pair("ca"), left, euid=0)))


def test_directory_missing_is_the_only_finding() -> None:
    """Without its directory nothing else is judged, and the finding says how to make it."""
    made = plan(Snapshot(Directory("/certs", exists=False)))
    assert (kinds(made), codes(made)) == ([], ["dir.missing"])
    assert severity(made) == "critical"


@pytest.mark.parametrize(("problem", "remedy"), [
    ("Permission denied", "give the agent's user access to it"),
    ("Not a directory", "configure the directory itself"),
])  # fmt: skip
def test_directory_unreadable_is_one_finding(problem: str, remedy: str) -> None:
    """One finding with one remedy: that it cannot be written to either is not a second one."""
    only, other = ObserveOnly(Why.FORBIDDEN, f"cannot open /certs: {problem}"), problem == "Not a directory"
    directory = Directory("/certs", exists=True, problem=problem, observe_only=only, not_directory=other)
    made = plan(Snapshot(directory))
    assert [("dir.missing", remedy)] == [(f.code, f.remedy) for f in made.findings if f.code.startswith("dir.")]
    assert [] == kinds(made)


def test_directory_externally_managed_is_observed_only() -> None:
    """Kubernetes' ..data: nothing is issued, installed or repaired."""
    found = snapshot(pair("ca"), pair(mode=0o644, cert=DUE.leaf), staged=(staged(),))
    made = plan(replace(found, directory=replace(found.directory, observe_only=VOLUME)))
    assert kinds(made) == []
    assert {"dir.foreign", "key.mode"} <= set(codes(made))


OBSERVED = [
    (Why.KUBERNETES, "the files are externally managed: ", "type none"),
    (Why.MOUNT, "the files are externally managed: ", "mount the whole directory"),
    (Why.ANOTHER_AGENT, "another agent manages it: ", "stop one of the two"),
    (Why.FORBIDDEN, "this agent may not change it: ", "let the agent's user own it"),
    (Why.READ_ONLY, "its file system is read-only: ", "mount it writable"),
    (Why.FULL, "its file system is full: ", "free disk space"),
    (Why.UNUSABLE, "its staging area cannot be used: ", "repair or remove"),
]


@pytest.mark.parametrize(("why", "says", "remedy"), OBSERVED)
def test_directory_observed_only_names_reason(why: Why, says: str, remedy: str) -> None:
    """The finding says what prevents management, and what ends that; another manager is named only if one is known."""
    found = snapshot(pair("ca"), pair(cert=DUE.leaf))
    made = plan(replace(found, directory=replace(found.directory, observe_only=ObserveOnly(why, "so it is"))))
    (finding,) = [f for f in made.findings if f.code == "dir.foreign"]
    assert f"{says}so it is" == finding.message
    assert remedy in finding.remedy


def test_directory_that_root_leaves_alone_is_one_finding() -> None:
    """Critical, even where it cannot be read; nothing of it is judged, asked or done, and commands are refused."""
    kinds_of = {"renew": "node", "rollback": "node", "reload": ""}
    asked = tuple(Request(kind, subject, NOW) for kind, subject in kinds_of.items())  # type: ignore[arg-type]
    found = snapshot(pair("ca"), pair(mode=0o644), unmanaged_files=(file("x.crt"),), requests=asked)
    only = ObserveOnly(Why.SHARED, "/certs belongs to cockroach, who could change it", "", "systemctl enable --now x")
    for problem in (None, "Permission denied"):
        seen = replace(found, directory=replace(found.directory, observe_only=only, problem=problem, mode=0o777))
        made = plan(seen)
        [finding] = made.findings
        assert certs_dir(policy(), seen, made, NOW)["next"] is None
        assert (finding.code, finding.severity, finding.remedy) == ("dir.foreign", "critical", only.advice)
        assert "an agent that is root serves only what root alone can write: /certs belongs to" in finding.message
        assert [(type(a).__name__, a.command) for a in made.actions] == [  # type: ignore[union-attr]
            ("RejectCommand", kind) for kind in kinds_of
        ]


def test_unmanaged_files_and_wide_directories_are_findings() -> None:
    """Unknown names, wide directories and missing kernel features are findings."""
    found = snapshot(unmanaged_files=(file("node.foo.crt"),), degraded=(WATCH_DEGRADED.found("", "no inotify"),))
    made = plan(replace(found, directory=replace(found.directory, mode=0o777)))
    assert {"name.unknown", "watch.degraded", "dir.mode"} <= set(codes(made))


@pytest.mark.parametrize(
    ("why", "read_only", "told"),
    [(Why.KUBERNETES, True, False), (Why.KUBERNETES, False, True), (Why.READ_ONLY, True, True), (None, False, True)],
)
def test_directory_mode_of_kubelets_read_only_volume_is_no_finding(
    why: Why | None, *, read_only: bool, told: bool
) -> None:
    """The kubelet makes its volumes 1777. Elsewhere a read-only mount says nothing of the writers behind it."""
    found = snapshot(pair("ca"), pair())
    only = None if why is None else ObserveOnly(why, "so it is")
    wide = replace(found.directory, mode=0o3777, observe_only=only, read_only=read_only)
    assert ("dir.mode" in codes(plan(replace(found, directory=wide)))) is told


def test_rollback_on_request_picks_newest_usable_generation() -> None:
    """An operator's rollback goes to the newest usable generation: not expired, not quarantined, not the live one."""
    kept = (generation(number=1), generation(number=2), generation(number=3, not_after=NOW - DAY))
    asked = Request("rollback", "node", NOW)
    found = snapshot(pair("ca"), pair(), generations=kept, requests=(asked,), quarantined=frozenset({"node-102"}))
    made = [a for a in plan(found).actions if type(a).__name__ == "Rollback"]
    assert [("node", 1)] == [(a.stem, a.generation) for a in made]  # type: ignore[attr-defined]


def test_rollback_pending_is_dropped_after_installation() -> None:
    """It meant the pair that was live when it was requested, never one that was installed later."""
    asked, later = Request("rollback", "node", NOW), NOW + MINUTE
    assert not fulfilled(asked, (Attempt("install", "node", NOW - MINUTE, "ok"),))
    assert not fulfilled(asked, (Attempt("install", "client.root", later, "ok"),))
    assert not fulfilled(asked, (Attempt("install", "node", later, "refused"),))
    assert fulfilled(asked, (Attempt("install", "node", later, "ok"),))
    assert fulfilled(asked, (Attempt("rollback", "node", later, "failed"),))
    assert not fulfilled(replace(asked, kind="renew"), (Attempt("rollback", "node", later, "ok"),))


def test_rollback_on_request_is_not_a_failed_installation() -> None:
    """A pair that was rolled back on request did not fail: the finding says that the previous pair is back."""
    back = Attempt("rollback", "node", NOW - MINUTE, "ok", "an operator asked for it")
    due = replace(ISSUES[0][1], attempts=(back,))
    told = [f.message for f in plan(due).findings if f.code == "renewal.failing"]
    assert told == ["the previous pair was restored: an operator asked for it"]


def test_server_without_san_is_finding() -> None:
    """Go reads no name from the common name: a finding, but no reason to ask a CA; a client's pair needs none."""
    bare = pair(cert=leaf(dns=(), ips=()))
    for names in (None, ()):
        made = plan(snapshot(pair("ca"), bare), policy(want("ca"), want(names=names)))
        assert [("cert.san", "critical")] == [(f.code, f.severity) for f in made.findings if f.code == "cert.san"]
        assert (kinds(made), made.blocked) == ([], ())
    wants = (want("ca"), want(names=None), want("client.root"))
    assert "cert.san" not in codes(plan(snapshot(pair("ca"), pair(), pair("client.root")), policy(*wants)))


def test_forecast_names_no_certificate_that_does_not_exist() -> None:
    """What is staged has a fingerprint; what a CA is only expected to issue has none, and a bundle has no key."""
    rules = policy(want("ca"), want())
    known = (Authority("house", "local", uncreated=True),)
    fresh = [
        a
        for a in forecast(rules, replace(snapshot(), pairs=Pairs(()), authorities=known), NOW)
        if isinstance(a, Install)
    ]
    assert {a.stem: a.reason for a in fresh} == {
        "ca": "a valid trust bundle is staged",
        "node": "a valid certificate and key are staged",
    }
    there = forecast(rules, snapshot(pair("ca"), replace(pair(), cert=None, key=None), staged=(staged(),)), NOW)
    (real,) = [a.reason for a in there if isinstance(a, Install)]
    assert real.startswith("a valid certificate and key are staged: ")


def test_forecast_contains_each_step_once() -> None:
    """The forecast of a live host ends: a probe answers once, and nothing comes twice, reloads included."""
    steps = forecast(policy(want("ca"), want(), want("client.root")), snapshot(pair("ca"), pair(), **SERVING), NOW)
    told = [(type(a).__name__, subject_of(a)) for a in steps]
    assert len(told) == len(set(told))
    assert {("Issue", "client.root"), ("Install", "client.root")} < set(told)
    assert [s for k, s in told if k == "Probe" and "root" in s]


def test_renewals_failing_become_critical() -> None:
    """A failed attempt is a warning; after three it is critical; under 5 % of the lifetime it is overdue."""
    old = [replace(JUST, at=NOW - n * MINUTE) for n in range(9)]
    severities = [
        next(
            f.severity
            for f in plan(replace(ISSUES[0][1], attempts=tuple(old[:n]))).findings
            if f.code == "renewal.failing"
        )
        for n in (1, 4)
    ]
    assert severities == ["warning", "critical"]
    late = pair(cert=leaf(not_before=NOW - 29 * DAY, not_after=NOW + DAY))
    assert "renewal.overdue" in codes(plan(snapshot(pair("ca"), late)))


def test_unmanaged_pair_is_judged_never_issued() -> None:
    """A pair that is not configured is still judged, and never issued."""
    eve = replace(pair("client.eve"), key=None)
    made = plan(snapshot(pair("ca"), pair(), eve))
    assert (kinds(made), "key.missing" in codes(made)) == ([], True)
    assert "certagent renew" not in str(made.findings)


def test_authority_none_remedy_names_external_tool() -> None:
    """Without an authority no command of ours renews: the remedy differs from that of a managed pair."""
    expired = pair(cert=leaf(not_after=NOW))
    told = [
        {
            f.code: f.remedy
            for f in plan(snapshot(pair("ca"), expired), policy(want("ca"), want(authorities=a))).findings
        }
        for a in ((), ("house",))
    ]
    by_others = "replace node.crt with the tool that rotates it, or configure an authority"
    assert (by_others, "certagent renew node") == (told[0]["cert.expired"], told[1]["cert.expired"])


def test_adoption_of_newer_manual_pair() -> None:
    """A newer valid pair that an operator installed manually is adopted, and stays."""
    newer = pair(cert=leaf(serial=5, not_before=NOW, not_after=NOW + 60 * DAY))
    made = plan(replace(snapshot(pair("ca"), newer), issued=frozenset({"node-1"})))
    assert [Adopt] == [type(a) for a in made.actions]


def test_bundle_fifo_is_finding_not_replaced() -> None:
    """A bundle that is a FIFO is a finding, and is not replaced."""
    broken = replace(pair("ca"), cert=CertFile(file("ca.crt", kind="fifo"), "", None, (), "a fifo", "irregular"))
    made = plan(snapshot(broken, pair()))
    assert "cert.irregular" in codes(made)
    assert "issue" not in kinds(made)
    assert name_of("ca").is_bundle


def without_leaf(kind: Literal["unparsable", "irregular", "unreadable", "empty"]) -> Pair:
    made = pair("ca")
    assert made.cert is not None
    return replace(made, cert=replace(made.cert, leaf=None, problem="broken", problem_kind=kind))


@pytest.mark.parametrize("kind", ["unparsable", "irregular", "unreadable", "empty"])
def test_bundle_that_cannot_be_used_is_one_finding(kind: Literal["unparsable", "irregular", "unreadable"]) -> None:
    """No certificate verifies by such a bundle; each says no more than the bundle does, and its remedy is no help."""
    untrusted = [
        replace(pair(stem), trust=Trust("ca", "the bundle cannot be read")) for stem in ("node", "client.root")
    ]
    rules = policy(want("ca"), want(), want("client.root"))
    made = plan(snapshot(without_leaf(kind), *untrusted), rules)
    assert [f.file for f in made.findings if f.code.startswith("cert.")] == ["ca.crt"]


@pytest.mark.parametrize(
    ("why", "authorities", "severity"),
    [
        (Why.KUBERNETES, (), "info"),
        (Why.MOUNT, (), "info"),
        (Why.KUBERNETES, ("house",), "warning"),
        (Why.FORBIDDEN, (), "warning"),
    ],
)
def test_externally_managed_as_configured_is_no_warning(why: Why, authorities: tuple[str, ...], severity: str) -> None:
    """Where another tool rotates and no authority is configured, there is nothing to do."""
    volume = replace(snapshot().directory, observe_only=ObserveOnly(why, "links through ..data"))
    made = decide(policy(want("ca", authorities=authorities)), snapshot(directory=volume), NOW)
    assert [f.severity for f in made.findings if f.code == "dir.foreign"] == [severity]
