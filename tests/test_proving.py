"""Whether a command is done and verified: rows of status and history -> proven, refused, pending."""

from typing import Any

import pytest

from certagent.cli.commands import awaited, reply_of
from certagent.cli.proving import Command, held_back, judge

SINCE = 10
ASKED, EARLIER, LATER = "2026-11-24T12:00:00.000Z", "2026-11-24T11:59:59.999Z", "2026-11-24T12:00:00.050Z"
RENEW = Command("renew", "node", "", SINCE, ASKED)


def row(kind: str, outcome: str, subject: str = "node", number: int = 1, digest: str = "new") -> dict[str, Any]:
    reason = f"{kind} said so"
    return {
        "id": SINCE + number,
        "kind": kind,
        "outcome": outcome,
        "subject": subject,
        "digest": digest,
        "reason": reason,
    }


def directory(proof: str = "served", fingerprint: str = "new", *states: str) -> dict[str, Any]:
    processes = [{"pid": 100 + n, "state": state} for n, state in enumerate(states or ("serving",))]
    files = [{"name": "node", "fingerprint": fingerprint, "proof": proof}]
    return {"files": files, "processes": processes, "processes_at": LATER}


def ordered() -> dict[str, Any]:
    """The same, with two authorities in order."""
    made = directory("pending", "old")
    made["files"][0]["authorities"] = ["house", "backup"]
    return made


def barred(state: str, *owed: str) -> dict[str, Any]:
    """A second process that gets no signal."""
    made = directory("served", "new", "serving", state)
    made["processes"][1]["owed"] = list(owed)
    return made


INSTALLED = [row("install", "ok"), row("issue", "ok")]
SENT = row("reload", "ok", "100:5", 2)
BEGAN = row("reload", "presumed", "101:5", 3)
CASES = [
    ("nothing yet", "renew", directory(), [], "pending"),
    ("the authority is being asked", "renew", directory(), [row("issue", "asked")], "pending"),
    ("installed, not served", "renew", directory("pending"), INSTALLED, "pending"),
    ("installed, the status is older", "renew", directory("served", "old"), INSTALLED, "pending"),
    ("installed and served", "renew", directory(), INSTALLED, "proven"),
    (
        "an attempt before the command",
        "renew",
        directory(),
        [row("install", "ok", number=0)],
        "pending",
    ),
    ("another pair failed", "renew", directory(), [row("issue", "failed", "ui"), *INSTALLED], "proven"),
    ("owed to the ledger", "rollback", directory(), [row("rollback", "ok", number=-11)], "proven"),
    ("taken back", "renew", directory(), [row("command", "refused", digest="renew")], "refused"),
    ("another command was", "renew", directory(), [row("command", "refused", digest="rollback")], "pending"),
    ("a reload was", "reload", directory(), [row("command", "refused", "", digest="reload")], "refused"),
    ("the CA refused", "renew", directory(), [row("issue", "refused")], "refused"),
    ("one of two authorities failed", "renew", ordered(), [row("issue", "failed")], "pending"),
    ("both failed", "renew", ordered(), [row("issue", "refused"), row("issue", "failed")], "refused"),
    ("a person answers later", "renew", directory(), [row("issue", "retry")], "pending"),
    (
        "refused before it is installed",
        "renew",
        directory(),
        [row("install", "refused"), row("issue", "ok")],
        "refused",
    ),
    ("rolled back again", "renew", directory(), [row("rollback", "ok", number=3, digest="old"), *INSTALLED], "refused"),
    ("rolled back on request", "rollback", directory("served", "old"), [row("rollback", "ok", digest="old")], "proven"),
    ("no generation", "rollback", directory(), [row("rollback", "failed")], "refused"),
    ("reloaded", "reload", directory(), [SENT], "proven"),
    ("sent, unproven", "reload", directory(), [row("reload", "unproven", "100:5")], "pending"),
    ("one of two", "reload", directory("served", "new", "serving", "serving"), [SENT], "pending"),
    ("not sent", "reload", directory(), [row("reload", "failed", "100:5")], "refused"),
    ("a pair failed meanwhile", "reload", directory(), [row("issue", "failed"), SENT], "proven"),
    ("nobody there", "reload", {**directory(), "processes": []}, [], "refused"),
    ("nobody was there before", "reload", {**directory(), "processes": [], "processes_at": EARLIER}, [], "pending"),
    ("nobody was looked for", "reload", {**directory(), "processes": [], "processes_at": None}, [], "pending"),
    ("starting", "reload", directory("served", "new", "starting"), [], "refused"),
    ("another one starts", "reload", directory("served", "new", "serving", "starting"), [SENT], "pending"),
    ("another one ignores it", "reload", barred("ignoring", "pid 101"), [SENT], "refused"),
    ("a stranger's, that owes nothing", "reload", barred("forbidden"), [SENT], "proven"),
    ("another one began since", "reload", directory("served", "new", "serving", "serving"), [BEGAN, SENT], "proven"),
]


def owing(*who: str, proof: str = "pending") -> dict[str, Any]:
    """A directory of one serving process where some addresses have not verified `node`."""
    made = directory(proof)
    made["files"][0]["owed"] = list(who)
    made["processes"][0]["owed"] = list(who)
    return made


WAITING = [
    ("renew", INSTALLED, ["127.0.0.1:26320"], "installed, not yet served by 127.0.0.1:26320"),
    ("renew", INSTALLED, ["127.0.0.1:1", "pid 7"], "installed, not yet served by 127.0.0.1:1, pid 7"),
    ("renew", INSTALLED, [], "installed, not yet verified"),
    ("renew", [row("issue", "asked")], [], "the authority has not answered yet"),
    ("renew", [row("issue", "ok")], [], "the authority issued a certificate, not yet installed"),
    ("rollback", [row("rollback", "ok")], ["127.0.0.1:1"], "rolled back, not yet served by 127.0.0.1:1"),
    ("reload", [row("reload", "unproven", "100:5")], ["127.0.0.1:1"], "SIGHUP sent, not yet served by 127.0.0.1:1"),
    (
        "reload",
        [row("reload", "presumed", "100:5")],
        ["127.0.0.1:1"],
        "cockroach was started in the meantime, not yet served by 127.0.0.1:1",
    ),
]


@pytest.mark.parametrize(("kind", "rows", "who", "told"), WAITING, ids=[f"{w[0]}: {w[3]}" for w in WAITING])
def test_command_result_lists_reached_and_unverified_addresses(
    kind: str, rows: list[dict[str, Any]], who: list[str], told: str
) -> None:
    """The addresses are those that the agent names: the command judges none itself."""
    command = Command(kind, "node" if kind != "reload" else "", "", SINCE, ASKED)
    assert {"state": "pending", "reason": told, "owed": who} == judge(command, [owing(*who)], rows)


@pytest.mark.parametrize(("file", "how"), [("ui", "served"), ("client.root", "accepted"), ("client.node", "loaded")])
def test_command_verification_by_kind_of_file(file: str, how: str) -> None:
    """An address serves a server's certificate, accepts a client's, loads the rest."""
    made = owing("127.0.0.1:1")
    made["files"][0]["name"] = file
    rows = [row("install", "ok", file)]
    found = judge(Command("renew", file, "", SINCE, ASKED), [made], rows)
    assert f"installed, not yet {how} by 127.0.0.1:1" == found["reason"]


def test_command_waits_for_pending_ca() -> None:
    """A CA has the request: that is the reason, even if it was asked before the command."""
    later = {"code": "renewal.waiting", "file": "node.crt", "message": "authority people has the request"}
    found = judge(RENEW, [{**directory("pending", "old"), "findings": [later]}], [])
    assert (found["state"], found["reason"]) == ("pending", "authority people has the request")
    other = {**later, "file": "ui.crt"}
    assert "people" not in judge(RENEW, [{**directory(), "findings": [other]}], [])["reason"]


@pytest.mark.parametrize(("label", "kind", "seen", "rows", "state"), CASES, ids=[c[0] for c in CASES])
def test_command_verified_only_if_shown_and_served(
    label: str, kind: str, seen: dict[str, Any], rows: list[dict[str, Any]], state: str
) -> None:
    """Verified only when the certificate that was installed is the one that is shown and served."""
    found = judge(Command(kind, "node" if kind != "reload" else "", "", SINCE, ASKED), [seen], rows)
    assert state == found["state"], (label, found)
    assert found["reason"]


HELD = {"action": "issue", "file": "node", "at": None, "reason": "ca.crt is needed first", "refused": False}
REFUSED = {"code": "renewal.refused", "file": "node.crt", "message": "ca.crt is needed first"}


def test_command_blocked_reason_is_the_plans() -> None:
    """The plan's own words; if it rejects the command, waiting is useless."""
    found: dict[str, Any] = {"held": [HELD], "findings": []}
    assert held_back("renew", "node", [found]) == (HELD["reason"], False)
    assert held_back("renew", "node", [{"held": [{**HELD, "refused": True}], "findings": []}]) == (HELD["reason"], True)
    timed = {**HELD, "at": "2026-11-24T22:57:04Z"}
    assert held_back("renew", "node", [{"held": [timed], "findings": [REFUSED]}]) == (HELD["reason"], False)
    assert held_back("renew", "client.root", [found]) == ("", False)
    assert held_back("rollback", "node", [found]) == ("", False)


def test_command_is_not_refused_for_older_refusal() -> None:
    """A queued command is not called refused for an earlier refusal, in whatever words."""
    for message in ("attempt 1 was refused: policy", HELD["reason"]):
        found = {"held": [HELD], "findings": [{**REFUSED, "message": message}]}
        assert held_back("renew", "node", [found]) == (HELD["reason"], False)


def test_reload_blocked_reason_of_its_process() -> None:
    """Its plan names the process, which the command does not."""
    held = {"action": "reload", "file": "100:5", "at": None, "reason": "node.key has mode 0644"}
    plan = [{"held": [held], "findings": []}]
    assert ("node.key has mode 0644", False) == held_back("reload", "", plan)
    assert ("", False) == held_back("renew", "node", plan)


def test_reload_names_files_that_no_handshake_verifies() -> None:
    """That an unchanged node.crt is served, as by a server that ignored the SIGHUP, shows nothing of a new bundle."""
    bundle = {**directory()["files"][0], "name": "ca", "proof": "sent"}
    shown = {**directory(), "files": [*directory()["files"], bundle]}
    found = judge(Command("reload", "", "", 0), [shown], [SENT])
    assert found == {"state": "proven", "reason": "served; cannot be verified for ca.crt: reload sent"}


def test_command_line_says_what_it_waits_for() -> None:
    """The reason, once something is owed; before that only that it waits."""
    command = Command("renew", "node", "/certs", 7, "2026-11-25T12:00:00Z")
    assert "renew node: waiting" == awaited(command, {"state": "pending", "reason": "whatever"})
    owed = {"state": "pending", "reason": "installed, not yet served", "owed": []}
    assert "renew node: installed, not yet served" == awaited(command, owed)


UNREACHABLE = {**row("issue", "failed"), "reason": "cannot reach ca:9000: Connection refused"}
NO_POLICY = {**row("issue", "refused"), "reason": "cannot reach the end of the policy"}
DECLINED = {**row("command", "refused", digest="renew", number=2), "reason": UNREACHABLE["reason"]}


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([UNREACHABLE], "failed"),
        ([DECLINED, UNREACHABLE], "failed"),
        ([NO_POLICY], "refused"),
        ([{**DECLINED, "reason": NO_POLICY["reason"]}, NO_POLICY], "refused"),
        ([{**DECLINED, "reason": "an hour has passed"}, UNREACHABLE], "refused"),
    ],
)
def test_renewal_that_no_authority_refused_has_failed(rows: list[dict[str, Any]], told: str) -> None:
    """A CA that cannot be reached has refused nothing; the state of the document is the same for both."""
    found = judge(RENEW, [directory("pending", "old")], rows)
    assert (found["state"], found.get("outcome", "refused")) == ("refused", told)
    assert (reply_of(RENEW, found, 1.0).text or "").startswith(f"renew node: {told}: ")
