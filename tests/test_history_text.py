"""`history` for people: by directory, with authority and duration, and no doubt about what was verified."""

from typing import Any

from certagent.cli.explain import LOOK
from certagent.cli.history_text import text
from certagent.core.catalogue import FINDINGS


def row(kind: str, outcome: str, seconds: float, subject: str = "node", **about: Any) -> dict[str, Any]:
    at = f"2026-11-30T19:38:{seconds:06.3f}Z"
    own = {"kind": kind, "outcome": outcome, "at": at, "subject": subject, "certs_dir": "/certs", "digest": "x"}
    return {**own, "reason": "why", **about}


ROTATION = [  # newest first
    row("reload", "ok", 2.2, "205:117", digest="m", reason="served by pid 205"),
    row("reload", "unproven", 2.1, "205:117", digest="m", reason="it serves another one"),
    row("install", "ok", 2.0, digest="ab" * 32),
    row("issue", "ok", 1.5, digest="house", reason="renewal is due"),
]


def test_good_rotation_has_no_doubtful_line() -> None:
    """Requested, installed, reloaded and verified: each once, by whom, and how long it took."""
    assert text(ROTATION, 120).split("\n") == [
        "/certs",
        "  when                  file     what",
        "  2026-11-30 19:38:02Z  pid 205  reloaded and verified, 100 ms after the SIGHUP: served by pid 205",
        "  2026-11-30 19:38:02Z  node     installed abababababab, 500 ms after the request",
        "  2026-11-30 19:38:01Z  node     issued by house: renewal is due",
    ]


def test_changed_bundle_counts_from_the_command_that_changed_it() -> None:
    """Not from an earlier request that has nothing to do with it."""
    rows = [
        row("install", "ok", 3.5, subject="ca", digest="ab" * 32),
        row("command", "ok", 3, subject="ca", digest="bundle add"),
        row("issue", "ok", 1, subject="ca", digest="house"),
    ]
    assert "installed abababababab, 500 ms after the command" in text(rows, 120)
    assert "after the" not in text([rows[0], row("command", "ok", 3, subject="ca", digest="rotation pause")], 120)


def test_reload_without_a_result_is_shown() -> None:
    """Of another process, of other material, or without any result since: a signal that was not verified is said."""
    others = [
        row("reload", "ok", 3, "206:1", digest="m"),
        row("reload", "ok", 3, "205:117", digest="n"),
        row("reload", "unproven", 2, "205:117", digest="m"),
    ]
    assert text(others, 120).count("SIGHUP sent, not verified") == 1


def test_history_of_two_directories_names_both() -> None:
    """Each apart, under its path; a cancelled command by its name; an unknown outcome as it is recorded."""
    rows = [row("command", "refused", 3, digest="renew"), row("issue", "odd", 2, certs_dir="/other")]
    told = text(rows, 120)
    assert [line for line in told.split("\n") if line.startswith("/")] == ["/certs", "/other"]
    assert "renew cancelled: why" in told
    assert "issue odd" in told


def test_history_says_what_failed_and_who_was_asked() -> None:
    """The reason follows; a failed request is not where a later installation began."""
    rows = [row("install", "ok", 3), row("issue", "failed", 1, digest="house", reason="connection refused")]
    told = text(rows, 120)
    assert "request to house failed: connection refused" in told
    assert "after the request" not in told
    assert max(map(len, text(rows, 60).split("\n"))) <= 60


def test_each_finding_says_how_to_look() -> None:
    """By its code or its area."""
    assert [code for code, rule in FINDINGS.items() if not (code in LOOK or rule.area in LOOK)] == []
