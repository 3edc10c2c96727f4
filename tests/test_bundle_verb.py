"""`certagent bundle`: what is read from a file, and what is said of how a command ended. Values in, values out."""

from typing import Any

import pytest

from certagent.cli.bundle import became, reply_of, shown, unusable

ONE = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n"
OLD, NEW = ({"subject": f"CN={n}", "fingerprint": n, "not_after": "2036-11-27T00:00:00.000Z"} for n in ("old", "new"))
ABOUT = {"ok": True, "certs_dir": "/certs", "bundle": "ca", "row": 7}
ADDED = {**ABOUT, "added": [NEW], "there": [OLD]}
PRUNED = {**ABOUT, "removed": [OLD], "waits": []}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ONE, ""),
        (ONE + "-----BEGIN EC PRIVATE KEY-----\n", "private key"),
        ("\x30\x82", "no certificate as PEM; openssl x509 -inform der"),
        (ONE * 1000, "add at most 40000 at a time"),
    ],
    ids=["fit", "key", "der", "large"],
)
def test_file_is_sent_only_if_it_is_certificates(text: str, why: str) -> None:
    """A private key is not even sent to the agent."""
    assert (why in unusable(text), bool(unusable(text))) == (True, bool(why))


def here(*cas: dict[str, str]) -> dict[str, Any]:
    return {"ok": True, "cas": [{**ca, "needed_by": [], "unseen": []} for ca in cas]}


def rows(*outcomes: str, row: int = 8) -> dict[str, Any]:
    return {"ok": True, "rows": [{"id": row, "kind": "install", "outcome": o, "reason": "broken"} for o in outcomes]}


@pytest.mark.parametrize(
    ("answer", "bundle", "history", "state"),
    [
        (ADDED, here(NEW, OLD), rows(), "installed"),
        (ADDED, here(OLD), rows("asked"), "pending"),
        (ADDED, here(OLD), rows("refused"), "refused"),
        (ADDED, here(OLD), rows("refused", row=7), "pending"),
        (ADDED, here(OLD), rows("failed", row=-1), "refused"),
        (ADDED, None, rows(), "pending"),
        (ADDED, here(OLD), {"ok": False, "error": "x"}, "pending"),
        (PRUNED, here(NEW), rows(), "installed"),
        (PRUNED, here(NEW, OLD), rows(), "pending"),
    ],
)
def test_staged_bundle_became(answer: dict[str, Any], bundle: Any, history: Any, state: str) -> None:
    """Installed where the live bundle says so; an attempt before the command says nothing of it."""
    assert became(answer, bundle, history)[0] == state


ENDS = [
    (
        ADDED,
        "installed",
        "",
        0,
        "added to /certs/ca.crt\n  CN=new, until 2036-11-27, SHA-256 new\n  there already: CN=old",
    ),
    (ADDED, "would be", "", 0, "would be added to /certs/ca.crt\n"),
    (ADDED, "refused", "broken", 1, "not added to /certs/ca.crt: broken\n"),
    (ADDED, "pending", "slow", 1, "not added to /certs/ca.crt: slow\n"),
    ({**ADDED, "added": []}, "", "", 0, "/certs/ca.crt: nothing to change\n  there already: CN=old"),
    (PRUNED, "installed", "", 0, "removed from /certs/ca.crt\n  CN=old"),
    ({**PRUNED, "waits": ["b:1"]}, "would be", "", 1, "would be removed from /certs/ca.crt\n"),
    ({**PRUNED, "removed": []}, "", "", 0, "/certs/ca.crt: nothing to remove"),
    (
        {**PRUNED, "removed": [], "needed": ["CN=old is needed by node.crt"]},
        "",
        "",
        0,
        "/certs/ca.crt: nothing to remove; CN=old is needed by node.crt",
    ),
]


@pytest.mark.parametrize(("answer", "state", "reason", "code", "text"), ENDS)
def test_bundle_reply(answer: dict[str, Any], state: str, reason: str, code: int, text: str) -> None:
    """What was changed, with fingerprints; a trial that would be refused says by whom, and exits 1."""
    told = reply_of(answer, state, reason)
    assert (told.code, (told.text or "").startswith(text)) == (code, True), told.text
    assert [f"may be needed by {who}" for who in answer.get("waits", [])] == [
        line.strip() for line in (told.text or "").splitlines() if "may be" in line
    ]


def test_bundle_show() -> None:
    """Each CA with those that need it; who was not seen is named once."""
    answer = here(NEW, OLD)
    answer["cas"][0]["needed_by"] = ["node.crt", "a:1"]
    for ca in answer["cas"]:
        ca["unseen"] = ["b:1"]
    assert shown({**ABOUT, **answer}).split("\n") == [
        "/certs/ca.crt",
        "  CN=new, until 2036-11-27, SHA-256 new",
        "    needed by: node.crt, a:1",
        "  CN=old, until 2036-11-27, SHA-256 old",
        "    needed by: nobody that was seen",
        "  not seen: b:1",
    ]
