"""`check`'s judgement: cockroach's decision, and the agent's findings by the weight they have without an agent."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.core.decide import decide
from certagent.core.facts import Directory, LoaderFlags, Pair, Trust
from certagent.core.judging import Target, document, wants_for, worst
from certagent.core.names import Name
from certagent.core.roles import Role
from tests.core.building import NOW, OWNER, VOLUME, file, leaf, pair, policy, snapshot, want

ABSENT = Directory("/certs", exists=False)


def target(**changes: Any) -> Target:
    """Without any configuration, unless changed."""
    return replace(Target(replace(policy(), wants=()), LoaderFlags(), OWNER.gid), **changes)


def judged(*pairs: Pair, of: Target | None = None, **changes: Any) -> dict[str, Any]:
    return document(of or target(), snapshot(*pairs, **changes), NOW)


def said(found: dict[str, Any], code: str) -> list[tuple[str, str]]:
    """Severity and sentence of the findings with a code."""
    return [(f["severity"], f["message"]) for f in found["findings"] if f["code"] == code]


def orphan(stem: str) -> Pair:
    """A key without its certificate."""
    return replace(pair(stem), cert=None)


def test_check_valid_directory_has_no_finding() -> None:
    """No findings, and every file as cockroach accepts it."""
    found = judged()
    assert ("ok", [], {"accepted": True, "reason": ""}) == (found["severity"], found["findings"], found["start"])
    assert [("ca.crt", True), ("node.crt", True)] == [(f["name"], f["accepted"]) for f in found["files"]]
    assert leaf().not_after.strftime("%Y-%m-%dT%H:%M:%S.000Z") == found["files"][1]["not_after"]


def test_check_node_start_verdict() -> None:
    """A node does not start without a directory, with an unreadable one, or without its certificate."""
    broken = replace(snapshot().directory, problem="permission denied")
    starts = [
        judged(directory=ABSENT)["start"],
        judged(directory=broken)["start"],
        judged(pair("ca"))["start"],
    ]
    assert [False] * 3 == [start["accepted"] for start in starts]
    assert ["the directory does not exist", "permission denied"] == [start["reason"] for start in starts[:2]]
    assert "node.crt" in starts[2]["reason"]


@pytest.mark.parametrize(("name", "code"), [("node.crt", "cert"), ("ca.crt", "cert"), ("node.key", "key")])
def test_check_directory_in_place_of_a_file_is_one_finding(name: str, code: str) -> None:
    """The name is there: nothing is called missing, and no other finding is about it, whoever else uses the files."""
    folder = replace(file(name), kind="directory")
    pairs = [p for p in (pair("ca"), pair(), pair("client.root")) if f"{p.name.stem}.crt" != name]
    pairs = [replace(p, key=None) if name == f"{p.name.stem}.key" else p for p in pairs]
    found = judged(*pairs, unmanaged_files=(folder,))
    about = [(f["code"], f["severity"], f["message"]) for f in found["findings"] if f["file"] == name]
    assert about == [(f"{code}.irregular", "critical", f"{name} is a directory, which cockroach skips")]
    assert not any("missing" in f["message"] for f in found["findings"])
    assert not any("missing" in f["reason"] for f in found["files"])


CLIENT = (pair("ca"), pair("client.root"))


@pytest.mark.parametrize(("serving", "severity"), [(False, "warning"), (True, "critical")])
def test_check_client_directory_needs_no_node(severity: str, *, serving: bool) -> None:
    """It needs no node.crt, unless a server loads it."""
    assert [severity] == [s for s, _ in said(judged(*CLIENT, of=target(serving=serving)), "cert.missing")]


def test_check_key_without_certificate_is_one_warning() -> None:
    """cockroach ignores it, so that one warning is all; the certificate of a node or a CA is missing."""
    found = judged(pair("ca"), pair("node"), orphan("client.root"))
    assert [("cert.missing", "warning")] == [(f["code"], f["severity"]) for f in found["findings"]]
    assert "client.root.key has no certificate: cockroach ignores it" == found["findings"][0]["message"]
    assert ["critical"] == [s for s, _ in said(judged(pair("ca"), orphan("node")), "cert.missing")]


def test_check_key_unused_is_not_read() -> None:
    """Its existence and its mode are reported; it is not read."""
    key = orphan("client.root").key
    assert key is not None
    broken = replace(key, file=replace(key.file, mode=0o644), spki=None, problem="no PEM", problem_kind="unparsable")
    found = judged(pair("ca"), pair("node"), replace(orphan("client.root"), key=broken))
    assert {"cert.missing", "key.mode"} == {f["code"] for f in found["findings"]}
    paired = judged(pair("ca"), pair("node"), replace(pair("client.root"), key=broken))
    assert "key.unparsable" in {f["code"] for f in paired["findings"]}


@pytest.mark.parametrize(("mode", "severity", "readable"), [(0o600, "warning", True), (0o640, "critical", False)])
def test_check_key_of_other_owner_is_warning(mode: int, severity: str, *, readable: bool) -> None:
    """A key that cockroach reads anyway is a warning, and the finding says so."""
    key = pair().key
    assert key is not None
    lost = replace(pair(), key=replace(key, file=replace(key.file, uid=12345, mode=mode)))
    ((found, message),) = said(judged(pair("ca"), lost), "key.owner")
    assert (severity, readable) == (found, message.endswith("; cockroach can still read it"))


@pytest.mark.parametrize(("kind", "permission"), [("unreadable", True), ("irregular", False)])
def test_check_unreadable_file_remedy_is_permission(kind: str, *, permission: bool) -> None:
    """The remedy is the missing permission, whatever words the kernel has for it."""
    key = replace(pair().key, spki=None, problem="in any words", problem_kind=kind)  # type: ignore[type-var]
    [found] = [f for f in judged(pair("ca"), replace(pair(), key=key))["findings"] if f["code"] == "key.irregular"]
    assert permission == (found["remedy"] == f"give {OWNER.user} permission to read it")


def test_check_unreadable_key_of_other_owner_is_one_finding() -> None:
    """Its one remedy is the chown that makes it readable."""
    key = replace(pair().key, spki=None, problem="denied", problem_kind="unreadable")  # type: ignore[type-var]
    theirs = replace(key, file=replace(key.file, uid=12345))
    found = [f for f in judged(pair("ca"), replace(pair(), key=theirs))["findings"] if f["file"] == "node.key"]
    assert [(f["code"], f["remedy"]) for f in found] == [
        ("key.irregular", f"chown {OWNER.uid}:{OWNER.gid} /certs/node.key")
    ]


def test_check_ui_untrusted_by_browsers_is_warning() -> None:
    """cockroach serves `ui` whoever issued it: a warning, and the browsers that must trust its CA."""
    console = replace(pair("ui"), trust=Trust("ca", "no chain"))
    [(severity, message)] = said(judged(pair("ca"), pair(), console), "cert.untrusted")
    assert (severity, message.endswith("; browsers must trust its CA")) == ("warning", True)


@pytest.mark.parametrize("configured", [False, True])
def test_check_remedy_without_configuration_names_file(*, configured: bool) -> None:
    """Without a configuration there is no agent to renew: the remedy names the file, not our verb."""
    wanted = replace(policy(), wants=(want("ca"), want("node")))
    of = target(policy=wanted) if configured else target()
    expired = pair(cert=leaf(not_after=NOW))
    found = {f["code"]: f["remedy"] for f in judged(pair("ca"), expired, of=of)["findings"]}
    assert configured == ("certagent" in found["cert.expired"])
    assert configured != found["cert.expired"].startswith("have node.crt issued again")
    other = {
        f["file"]: f["remedy"]
        for f in judged(pair("ca"), pair(), replace(pair("client.eve"), key=None), of=of)["findings"]
    }
    assert configured == (other["client.eve.key"].endswith("they are not configured here"))
    lost = {f["code"]: f["remedy"] for f in judged(pair("node"), of=of)["findings"]}
    assert configured != (lost["ca.missing"] == "copy the CA's certificate there")


def test_check_externally_managed_directory() -> None:
    """Without a configuration that is expected; with one it is a finding."""
    volume = replace(snapshot().directory, observe_only=VOLUME)
    wanted = target(policy=replace(policy(), wants=(want("ca"), want("node"))))
    severities = [said(judged(directory=volume, of=of), "dir.foreign")[0][0] for of in (target(), wanted)]
    assert "info" == severities[0] != severities[1]


def test_check_tenant_without_number_is_refused() -> None:
    """cockroach refuses the whole directory for it."""
    found = judged(pair("ca"), pair("node"), pair("client-tenant.seven"))
    assert [
        ("critical", "the tenant's id is not an unsigned 64-bit number: cockroach refuses the whole directory")
    ] == [row for row in said(found, "name.unknown") if "tenant" in row[1]]
    assert "name.unknown" not in {f["code"] for f in judged(pair("client-tenant.7"))["findings"]}


def test_status_tenant_without_number_is_finding() -> None:
    """`status` has the same finding: every reload is refused until the file is gone."""
    plan = decide(policy(), snapshot(pair("ca"), pair(), pair("client-tenant.18446744073709551616")), NOW)
    found = [(f.severity, f.file) for f in plan.findings if f.code == "name.unknown"]
    assert found == [("critical", "client-tenant.18446744073709551616.crt")]


def test_check_findings_of_agent_are_left_out() -> None:
    """No renewal, no process, no probe: only files are judged, and the worst comes first."""
    found = judged(pair("ca"), pair(cert=leaf(not_after=NOW), mode=0o644), orphan("client.app"))["findings"]
    assert {f["code"].partition(".")[0] for f in found} <= {"cert", "key", "ca", "name", "dir"}
    assert [("critical", "node.crt"), ("critical", "node.key"), ("warning", "client.app.crt")] == [
        (f["severity"], f["file"]) for f in found
    ]


@pytest.mark.parametrize(("there", "needed"), [
    ((), {"ca": (None, False, False), "node": ("node", True, True)}),
    (("node",), {"ca": (None, False, False), "node": ("node", True, True)}),
    (("node", "client.node"), {"ca": (None, False, False), "client.node": ("node", False, True),
                               "node": (None, True, False)}),
    (("ui", "client.root"), {"ca": (None, False, False), "node": ("node", True, True), "ui": (None, True, False),
                             "client.root": ("root", False, True)}),
])  # fmt: skip
def test_check_needs_by_role(there: tuple[str, ...], needed: dict[str, Any]) -> None:
    """`ca` and `node`, and of each other file what its role demands: principal, serverAuth, clientAuth."""
    found = wants_for((), tuple(pair(stem) for stem in there))
    assert needed == {w.name.stem: (w.principal, w.server, w.client) for w in found}


def test_check_needs_as_configured() -> None:
    """Unconfigured pairs are added if they exist; a key without a certificate is not."""
    found = wants_for((want("ui"),), (pair("client.root"), orphan("client.app"), pair("ui")))
    assert [want("ui").name, Name(Role.CLIENT, "root")] == [w.name for w in found]
    assert want("ui") == found[0]


def test_check_worst_severity_of_several() -> None:
    """As the exit code reports; of nothing it is ok."""
    assert "critical" == worst("ok", "critical", "warning")
    assert "ok" == worst()


def test_owner_of_the_directory_is_no_finding_without_a_configuration() -> None:
    """Nobody configured an owner: cockroach needs to read the files, not to own them."""
    other = replace(snapshot().directory, uid=1234)
    assert said(judged(directory=other), "dir.owner") == []
    assert "dir.owner" in {f.code for f in decide(policy(), snapshot(directory=other), NOW).findings}


def unread(stem: str = "node") -> Pair:
    """A pair whose key this program may not read."""
    return replace(pair(stem), key=replace(pair(stem).key, spki=None, problem="denied", problem_kind="unreadable"))  # type: ignore[type-var]


def test_check_by_user_who_may_not_read_is_unknown() -> None:
    """Nothing is said of cockroach then: neither critical nor accepted, and the remedy names who may look."""
    found = judged(pair("ca"), unread(), euid=OWNER.uid + 1)
    assert ("unknown", None) == (found["severity"], found["start"]["accepted"])
    assert [("ca.crt", True), ("node.crt", None)] == [(f["name"], f["accepted"]) for f in found["files"]]
    assert [("info", "not checked: node.key denied")] == said(found, "key.irregular")
    assert "run this as root or as cockroach" == found["findings"][0]["remedy"]
    for reader in (0, OWNER.uid):
        assert judged(pair("ca"), unread(), euid=reader)["severity"] == "critical"


def test_check_of_directory_that_may_not_be_entered_is_unknown() -> None:
    """The same of the whole directory; one that is a file, or missing, is critical whoever looks."""
    closed = replace(snapshot().directory, problem="permission denied")
    assert judged(directory=closed, euid=1)["severity"] == "unknown"
    for other in (replace(closed, not_directory=True), ABSENT):
        assert judged(directory=other, euid=1)["severity"] == "critical"


def test_check_critical_finding_outweighs_what_was_not_read() -> None:
    """What is known to be critical is so, whatever else could not be read; of several directories the same."""
    expired = pair("client.root", leaf("client.root", not_after=NOW))
    assert judged(pair("ca"), unread(), expired, euid=1)["severity"] == "critical"
    assert [worst("ok", "unknown", "warning"), worst("unknown", "critical"), worst("ok", "warning"), worst()] == [
        "unknown",
        "critical",
        "warning",
        "ok",
    ]
