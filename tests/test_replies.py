"""What each verb says, and how it exits: rows of facts -> the reply, without a daemon or a file."""

import errno
import json
import socket
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certagent.cli import account, authority, check, commands, demo, history, main, plan, recover, status
from certagent.cli.common import Reply, Stopped, ask, complaint, local_service, read_config, said, show, stem_of
from certagent.cli.proving import PENDING, QUEUED, Command, blocked, seen
from certagent.posix.errors import HostError
from tests.core.building import pair

RENEW = Command("renew", "node", "/certs", 7)
EVERYWHERE = Command("reload", "", "", 7)


@pytest.mark.parametrize(
    ("reply", "as_json", "expected"),
    [
        (Reply(text="for people"), False, "for people"),
        (Reply(text="for people"), True, "for people"),
        (Reply(text="for people", document={"a": 1}), False, "for people"),
        (Reply(text="for people", document={"a": 1}), True, '{\n  "a": 1\n}'),
        (Reply(text="", document=[]), True, "[]"),
        (Reply(text=""), False, ""),
        (Reply(document={"a": 1}), False, None),
        (complaint("no", 3), True, None),
    ],
)
def test_reply_stdout_is_document_or_text(reply: Reply, as_json: bool, expected: str | None) -> None:
    """--json prints the document if there is one; an empty text is a line, no text is nothing."""
    assert said(reply, as_json=as_json) == expected


def test_reply_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The error on stderr, the text on stdout, the code returned."""
    assert show(Reply(2, "this", {"that": 1}, "but"), as_json=False) == 2
    assert capsys.readouterr() == ("this\n", "but\n")


def test_reply_of_stopped_verb_has_every_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stopped carries the reply: every error of the configuration, 64; main prints it."""
    config = tmp_path / "config.toml"
    config.write_text("[agent]\nrescan = 3\nnonsense = 1\n")
    for reader in (read_config, partial(local_service, silent=True)):
        with pytest.raises(Stopped) as stopped:
            reader(str(config))
        assert stopped.value.reply.code == 64
        assert len(stopped.value.reply.error.splitlines()) > 1
        assert (stopped.value.why, stopped.value.remedy) == (stopped.value.reply.error, "")
    assert main(["plan", "-c", str(config)]) == 64
    assert capsys.readouterr() == ("", stopped.value.reply.error + "\n")


def test_agent_that_does_not_answer_is_not_called_absent(tmp_path: Path) -> None:
    """Where an agent runs and gives no answer in time, a verb does nothing in its place, and exits 3."""
    config, path = tmp_path / "config.toml", str(tmp_path / "s")
    config.write_text(f'[agent]\nsocket = "{path}"\n')
    assert ask(str(config), "renew", patience=0.1) is None
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen()
        with pytest.raises(Stopped) as stopped:
            ask(str(config), "renew", patience=0.1)
    assert stopped.value.reply.code == 3
    assert f"the agent at {path} runs, but did not answer 'renew'" in stopped.value.reply.error
    assert stopped.value.remedy == "what it does is in its log: journalctl -u certagent"
    assert stopped.value.reply.error == f"certagent: {stopped.value.why}; {stopped.value.remedy}"


def test_help_without_a_verb_exits_64(capsys: pytest.CaptureFixture[str]) -> None:
    """The list of verbs, and 64; --version is answered with a verb as without one."""
    assert main([]) == 64
    assert "COMMAND" in capsys.readouterr().out
    assert main(["--version"]) == main(["--version", "plan"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == second
    assert first.startswith("certagent ")


@pytest.mark.parametrize(
    ("word", "stem"), [("node", "node"), ("node.crt", "node"), ("client.root.key", "client.root"), ("", "")]
)
def test_pair_is_named_by_either_file(word: str, stem: str) -> None:
    """A pair is named by either of its files."""
    assert stem_of(word) == stem


STATUS = {"now": "2026-01-01T00:00:00Z", "daemon": None, "certs_dirs": []}


@pytest.mark.parametrize(
    ("severity", "code"), [("ok", 0), ("info", 0), ("warning", 1), ("critical", 2), ("unheard of", 3)]
)
def test_status_exits_by_severity(severity: str, code: int) -> None:
    """0, 1, 2; unknown is 3."""
    reply = status.reply_of({"ok": True, "document": {**STATUS, "severity": severity}})
    assert (reply.code, reply.text) == (
        code,
        f"certagent: {severity}, no agent is running; this host was read just now",
    )
    assert reply.document == {**STATUS, "severity": severity}


def test_status_refused_by_daemon_is_unknown() -> None:
    """Unknown, with the daemon's reason."""
    assert status.reply_of({"ok": False, "error": "stopping"}) == Reply(3, "certagent: stopping")


def planned(*actions: str) -> dict[str, Any]:
    rows = [{"action": a, "subject": "node", "reason": "so"} for a in actions]
    lists: dict[str, Any] = {"actions": rows, "steps": rows, "held": [], "findings": [], "wake_at": None}
    return {"certs_dirs": [{"path": "/certs", **lists}]}


@pytest.mark.parametrize(
    ("actions", "code"), [((), 0), (("probe", "scan"), 0), (("presume",), 0), (("probe", "issue"), 2)]
)
def test_plan_exits_by_its_work(actions: tuple[str, ...], code: int) -> None:
    """2 if something would be done; scans and probes do not count."""
    assert plan.reply_of(planned(*actions)).code == code


def finding(severity: str) -> dict[str, str]:
    return {"code": "dir.foreign", "severity": severity, "file": "/certs", "message": "m", "remedy": "r"}


@pytest.mark.parametrize(("severity", "code"), [("info", 0), ("warning", 0), ("critical", 2)])
@pytest.mark.parametrize("actions", [(), ("probe",)])
def test_plan_exits_by_critical_findings(severity: str, code: int, actions: tuple[str, ...]) -> None:
    """A critical one is shown, also beside a probe; of warnings it says only that there are some."""
    document = planned(*actions)
    document["certs_dirs"][0]["findings"] = [finding(severity)]
    reply = plan.reply_of(document)
    assert reply.code == code
    assert ("critical dir.foreign /certs: m" in (reply.text or "")) == (severity == "critical")
    assert ("1 warning: see certagent status" in (reply.text or "")) == (severity == "warning")


def test_plan_of_missing_directory_is_unknown() -> None:
    """What would be done there cannot be said: neither nothing, nor work."""
    document = planned()
    missing = {"code": "dir.missing", "severity": "critical", "file": "/certs", "message": "m", "remedy": "r"}
    document["certs_dirs"][0]["findings"] = [missing]
    reply = plan.reply_of(document)
    assert reply.code == 3
    assert "dir.missing /certs: m" in (reply.text or "")


def test_history_of_file_without_attempts_names_it() -> None:
    """Who mistypes a name is not told that nothing was ever attempted."""
    assert history.reply_of([], "nod").text == "no attempts for nod yet; certagent status lists what is managed"


ATTEMPT = {"certs_dir": "/c", "at": "2026-01-01T00:00:00Z", "kind": "issue", "subject": "node", "outcome": "ok"}
ATTEMPT |= {"reason": "due", "digest": "house"}
SHOWN = "/c\n  when                  file  what\n  2026-01-01 00:00:00Z  node  issued by house: due"


@pytest.mark.parametrize(
    ("rows", "told"),
    [([], "no attempts yet"), ([ATTEMPT], SHOWN)],
)
def test_history_lists_attempts(rows: list[dict[str, Any]], told: str) -> None:
    """A line for each attempt, and a sentence for none."""
    assert history.reply_of(rows) == Reply(0, told, {"version": 1, "attempts": rows})


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ({"ok": True, "note": "a new key"}, Reply(0, "a new key", {"version": 1, "done": "a new key"})),
        ({"ok": False, "error": "no", "code": "refused"}, complaint("no", 1)),
        ({"ok": False, "error": "no"}, complaint("no", 1)),
        ({"ok": False, "error": "not you", "code": "forbidden"}, complaint("not you", 3)),
    ],
)
def test_account_exits_by_result(answer: dict[str, Any], reply: Reply) -> None:
    """0 done, 1 not done, 3 for a user without permission."""
    assert account.reply_of(answer) == reply


@pytest.mark.parametrize(("code", "exits"), [("refused", 64), ("forbidden", 3), ("", 3)])
def test_trial_not_made_exits_64_or_3(code: str, exits: int) -> None:
    """A mistake of the command line is a usage error; the rest is unknown."""
    assert authority.reply_of({"error": "no", "code": code}) == complaint("no", exits)


@pytest.mark.parametrize(("good", "mark"), [(True, "ok     "), (False, "FAILED ")])
def test_trial_exits_by_steps(good: bool, mark: str) -> None:
    """0 if every step worked, else 1."""
    steps = [{"outcome": "ok" if good else "failed", "name": "settings", "reason": "because", "seconds": 0.25}]
    about = {"authority": "house", "type": "local", "file": "node", "certs_dir": "/certs", "certificate": None}
    reply = authority.reply_of({"document": {**about, "ok": good, "steps": steps}})
    assert reply.code == (0 if good else 1)
    assert str(reply.text).splitlines()[1] == f"  {mark} settings     because (0.250 s)"
    before = [{k: v for k, v in steps[0].items() if k != "seconds"}]
    untimed = authority.reply_of({"document": {**about, "ok": good, "steps": before}})
    assert str(untimed.text).splitlines()[1] == f"  {mark} settings     because", "of an agent of an earlier version"


def verdict(path: str, severity: str) -> dict[str, Any]:
    about = {"version": 1, "certs_dir": path, "severity": severity, "user": "cockroach", "pid": None}
    return {**about, "files": [], "findings": [], "start": {"accepted": True, "reason": ""}}


@pytest.mark.parametrize(
    ("severities", "code"), [(("ok",), 0), (("info",), 0), (("ok", "warning"), 1), (("critical", "warning"), 2)]
)
def test_check_exits_by_the_worst(severities: tuple[str, ...], code: int) -> None:
    """One directory is the document itself; several are listed below the worst severity."""
    documents = [verdict(f"/{n}", s) for n, s in enumerate(severities)]
    reply = check.reply_of(documents)
    assert reply.code == code
    assert reply.text == "\n\n".join(f"/{n} (user cockroach): {s}" for n, s in enumerate(severities))
    several = {"version": 1, "severity": severities[code == 1], "certs_dirs": documents}
    assert reply.document == (documents[0] if len(documents) == 1 else several)


DONE = {
    "/a": recover.Recovered("nothing to recover"),
    "/b": recover.Recovered("rolled forward", ("node", "ui")),
    "/c": recover.Recovered("[Errno 5] Input/output error", error="Input/output error"),
}
TOLD = {"/a": "nothing to recover", "/b": "rolled forward; still mismatched: node, ui", "/c": DONE["/c"].what}


@pytest.mark.parametrize(
    ("paths", "code", "error"),
    [
        (("/a",), 0, ""),
        (("/a", "/b"), 2, ""),
        (("/c", "/a"), 2, "certagent: cannot recover /c: Input/output error"),
    ],
)
def test_recover_exits_by_matching_pairs(paths: tuple[str, ...], code: int, error: str) -> None:
    """A line for each directory; 2 as soon as one is left without a matched pair."""
    reply = recover.reply_of({path: DONE[path] for path in paths})
    assert (reply.code, reply.error) == (code, error)
    assert reply.text == "\n".join(f"{path}: {TOLD[path]}" for path in paths)
    assert json.loads(str(said(reply, as_json=True))) == {
        "version": 1,
        "certs_dirs": {path: [path == "/a", TOLD[path]] for path in paths},
    }


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EAGAIN, "nothing done: cannot lock; the running agent recovers by itself"),
        (errno.EACCES, "nothing done: cannot lock; run this command as the agent's user"),
        (errno.EIO, "nothing done: cannot lock"),
    ],
)
def test_recover_beside_running_agent_is_no_failure(number: int, sentence: str) -> None:
    """A running agent has the lock, and recovers by itself."""
    assert recover.undone(HostError("cannot lock", number)) == sentence


def test_recover_torn_pairs() -> None:
    """Both files exist and do not match; a bundle has no key, and half a pair is not torn."""
    other = pair("client.root").key
    without, bundle = pair("ui", key=None), pair("ca", key=other)
    assert recover.torn([pair("node", key=other), pair("client.root"), without, bundle]) == ("node",)
    assert recover.torn([replace(pair("ui"), cert=None, key=other)]) == ()


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (None, complaint("no agent answers at /sock; start it: systemctl start certagent, or `certagent run`", 3)),
        ({"ok": False, "error": "no such pair"}, complaint("no such pair", 1)),
    ],
)
def test_command_without_daemon_exits_3_refused_1(answer: dict[str, Any] | None, reply: Reply) -> None:
    """3 without a daemon, 1 if it refuses."""
    assert commands.refusal(answer, "no agent answers at /sock") == reply


LATE = {"owed": ["127.0.0.1:26320"]}


@pytest.mark.parametrize(
    ("command", "state", "reason", "more", "code", "told"),
    [
        (RENEW, "proven", "served", {}, 0, "renew node: verified: served"),
        (RENEW, "proven", "sent", {}, 0, "renew node: done, cannot be verified: reload sent"),
        (
            RENEW,
            "proven",
            "none-needed",
            {},
            0,
            "renew node: done: no cockroach process uses this directory; nothing to verify",
        ),
        (RENEW, "pending", "so", {}, 1, "renew node: pending: so"),
        (
            RENEW,
            "pending",
            "installed, not yet served by 127.0.0.1:26320",
            LATE,
            1,
            "renew node: installed, not yet served by 127.0.0.1:26320 after 8 s; the agent keeps trying",
        ),
        (RENEW, "refused", "so", {}, 1, "renew node: refused: so"),
        (EVERYWHERE, "proven", "served", {}, 0, "reload: verified: served"),
    ],
)
def test_command_exits_0_only_if_verified(
    command: Command, state: str, reason: str, more: dict[str, Any], code: int, told: str
) -> None:
    """0 only if nothing is pending; what is pending is named, and how long the command waited."""
    outcome = {"state": state, "reason": reason, **more}
    assert commands.reply_of(command, outcome, 8.2) == Reply(code, told, {"version": 1, **outcome})


def answered(*directories: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "document": {"certs_dirs": [{"path": "/certs", **d} for d in directories]}}


SERVED = {"files": [{"name": "node", "fingerprint": "new", "proof": "served"}], "processes": []}
INSTALLED = {"id": 8, "kind": "install", "outcome": "ok", "subject": "node", "digest": "new", "reason": ""}
SILENT = {"state": "pending", "reason": "the agent no longer answers"}


@pytest.mark.parametrize(
    ("status_answer", "rows", "expected"),
    [
        (None, [INSTALLED], SILENT),
        (answered(SERVED), None, SILENT),
        (answered(SERVED), [], PENDING),
        (answered(SERVED), [{**INSTALLED, "id": 7}], PENDING),
        (
            answered({**SERVED, "path": "/other"}),
            [INSTALLED],
            {"state": "pending", "reason": "installed, not yet verified", "owed": []},
        ),
        (answered(SERVED), [INSTALLED], {"state": "proven", "reason": "served"}),
    ],
)
def test_command_sees_only_its_directory_and_later_events(
    status_answer: dict[str, Any] | None, rows: list[dict[str, Any]] | None, expected: dict[str, str]
) -> None:
    """Only its own directory and only later events count; silence means nothing."""
    assert seen(RENEW, status_answer, None if rows is None else {"ok": True, "rows": rows}) == expected


def test_command_busy_agent_is_asked_again() -> None:
    """Its ledger or its disk may be busy: that is the reason why the command is pending, and does not end it."""
    busy = {"ok": False, "error": "cannot use the ledger", "code": "refused"}
    expected = {"state": "pending", "reason": "cannot use the ledger"}
    assert expected == seen(RENEW, answered(SERVED), busy)
    assert expected == seen(RENEW, busy, {"ok": True, "rows": []})
    assert blocked(RENEW, busy) == PENDING


HELD = {"action": "issue", "file": "node", "reason": "a pause", "at": None, "refused": False}
REFUSED = {**HELD, "refused": True}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, PENDING),
        (answered({"held": [], "findings": []}), PENDING),
        (answered({"held": [HELD], "findings": []}), {"state": "pending", "reason": f"a pause; {QUEUED}"}),
        (answered({"held": [REFUSED], "findings": []}), {"state": "refused", "reason": "a pause"}),
        (answered({"held": [HELD], "findings": [], "path": "/other"}), PENDING),
    ],
)
def test_command_blocked_is_refused_if_only_operator_helps(
    answer: dict[str, Any] | None, expected: dict[str, str]
) -> None:
    """By the plan of its own directory; refused if only an operator can end it."""
    assert blocked(RENEW, answer) == expected


def test_demo_success_names_next_command() -> None:
    """After the demonstration it prints which command to try, by the path that was called; after a failure nothing."""
    done = demo.reply_of(0, ".venv/bin/certagent")
    assert (done.code, demo.reply_of(1, "certagent")) == (0, Reply(1))
    assert (done.text or "").startswith("now try:\n  .venv/bin/certagent check --certs-dir DIR")
    assert "then read docs/install.md to install" in (done.text or "")
    installed = demo.reply_of(0, "certagent", "/usr/share/doc/certagent/").text or ""
    assert "then read /usr/share/doc/certagent/docs/install.md to install" in installed
    assert "/usr/share/doc/certagent/config.example.toml for every setting" in installed
