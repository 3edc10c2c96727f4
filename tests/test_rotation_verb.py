"""`certagent rotation`: what is shown of a rotation, and what is said of a command. Values in, values out."""

from dataclasses import replace
from typing import Any

import pytest

from certagent.agent.rotation import Target, listed, live, one, only, root_of, staying, verb
from certagent.cli.rotation import reply_of, said, text
from certagent.core.facts import Members, Trust, Word
from certagent.core.policy import RotationRule
from certagent.core.rotation import shown
from certagent.core.rotation.target import Change
from certagent.core.view import View
from certagent.posix.errors import HostError
from tests.core.building import NOW, pair, policy, snapshot
from tests.core.rotation.test_shown import FOUND, ROW
from tests.core.test_bundles import NEW, OLD, bundle

RULES = policy(rotation=RotationRule())


def document(*rotations: dict[str, Any], paths: tuple[str, ...] = ("/certs",)) -> dict[str, Any]:
    """The status of directories that are all in these rotations."""
    rows = [{"path": path, "rotations": list(rotations)} for path in paths]
    return {"version": 1, "now": "2026-11-24T12:00:00.000Z", "certs_dirs": rows}


def test_rotation_status_for_people() -> None:
    """A row for each member, what is waited for, and the exact command."""
    shows = shown.rotation(RULES, FOUND) | {"words": ["clients-trust"]}
    told = reply_of(document(shows))
    assert told.code == 3
    assert (told.text or "").split("\n") == [
        "/certs: rotation of ca to CN=new",
        "  phase: known; the new root is known, and not trusted by this host yet",
        "  former: CN=old",
        "  said: clients trust",
        "  member  accepts the new root  serves",
        "  a:1     not known             not seen  not looked at",
        "  b:1     yes                   new       not looked at",
        "  waits for a person: why",
        "  next: certagent bundle add FILE",
    ]


def test_rotation_status_of_several_directories() -> None:
    """The command names the directory, in the JSON too; what is no command does not."""
    shows = shown.rotation(RULES, FOUND, several=True)
    assert shows["next"] == "certagent bundle add FILE --certs-dir /certs"
    told = text(document(shows, paths=("/a", "/certs")), 120)
    assert "  next: certagent bundle add FILE --certs-dir /certs" in told.split("\n")
    configured = text(document(shows | {"next": "set `peers`"}, paths=("/a", "/b")), 120)
    assert configured.count("  next: set `peers`\n") == 1
    assert configured.endswith("  next: set `peers`")
    incomplete = replace(FOUND, incomplete="short", phase="trusted-here", waits="person")
    assert "--certs-dir" not in shown.rotation(RULES, incomplete, several=True)["next"]


def test_rotation_status_marks_this_host_and_forced_members() -> None:
    """What a person said of a member is its reason."""
    rows = (FOUND.rows[1], *(type(ROW)(**{**_fields(ROW), "own": own, "forced": not own}) for own in (True, False)))
    members = [shown.member(row) for row in rows]
    told = text(document(shown.rotation(RULES, FOUND) | {"members": members, "waits_for": "machines", "next": ""}), 120)
    assert [line.split()[-1] for line in told.split("\n") if "a:1" in line] == ["at", "forced"]
    assert "a:1 (this host)" in told
    assert told.endswith("  waits for machines: why")


def _fields(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def test_no_rotation_exits_0() -> None:
    """It is said of each directory."""
    assert reply_of(document())[:2] == (0, "/certs: no rotation is under way")


def test_said_reply_names_the_rotation() -> None:
    """What counts now; what is refused exits 1, no agent 3."""
    answer = {"ok": True, "certs_dir": "/certs", "bundle": "ca", "subject": "CN=new"}
    assert said(answer, "/nowhere", "paused")[:2] == (0, "rotation of ca to CN=new in /certs: paused")
    assert said(answer | {"subject": ""}, "/nowhere", "goes on").text == "rotation of ca in /certs: goes on"
    assert said({"ok": False, "error": "no"}, "/etc/certagent/config.toml", "").code == 1
    assert said(None, "/etc/certagent/config.toml", "").code == 3


def test_forced_member_has_to_be_listed() -> None:
    """A misspelled name would be waited for all the same."""
    members = Members(source="peers", listed=("a:1", "b:1"))
    seen = View(policy=RULES, snapshot=snapshot(members=members), now=NOW)
    listed(seen, "a:1")
    with pytest.raises(HostError, match="'a:2' is not one of the listed members; they are: a:1, b:1"):
        listed(seen, "a:2")
    with pytest.raises(HostError, match="none is listed: list them in `peers`"):
        listed(None, "a:1")


def test_command_without_a_rotation_is_refused() -> None:
    """It says how one begins."""
    nothing: tuple[Target, ...] = ()
    with pytest.raises(HostError, match="no rotation is under way here; `certagent bundle add FILE` begins one"):
        one(nothing, "")
    with pytest.raises(HostError, match="no rotation is under way in /certs"):
        one(nothing, "/certs")


def test_word_of_clients_after_an_abort_is_about_the_root_that_stays() -> None:
    """The new root leaves the bundle then."""
    change = Change(bundle="ca", new=NEW, former=(OLD,))
    abort = Word(kind="abort", bundle="ca", root=NEW.spki, at=NOW)
    assert root_of("clients-present", change, ()) == NEW.spki
    assert root_of("clients-present", change, (abort,)) == OLD.spki
    assert root_of("clients-trust", change, (abort,)) == NEW.spki
    assert root_of("clients-present", change, (replace(abort, bundle="ca-client"),)) == NEW.spki


def test_word_of_clients_after_an_abort_counts_where_an_authority_still_issues_from_the_root_that_stays() -> None:
    """No CA is a former one then; the word means the root that the own pairs lead to, never the new one."""
    change = Change(bundle="ca", new=NEW, former=())
    abort = Word(kind="abort", bundle="ca", root=NEW.spki, at=NOW)
    stays = staying(of_pair(OLD.spki), change)
    assert root_of("clients-present", change, (abort,), stays) == OLD.spki
    assert root_of("clients-present", change, (), stays) == NEW.spki
    assert (staying(of_pair(NEW.spki), change), staying(None, change)) == ("", "")


def test_clients_present_is_refused_before_the_new_certificate_is_live() -> None:
    """No client was seen to need the new root then; with it, or where the bundle verifies no own pair, it is taken."""
    change = Change(bundle="ca", new=NEW, former=(OLD,))
    with pytest.raises(HostError, match=r"node\.crt is still of the former CA; say it when .* the phase `leaf`"):
        live(of_pair(OLD.spki), change)
    live(of_pair(NEW.spki), change)
    live(of_pair(OLD.spki), replace(change, bundle="ca-client"))


def of_pair(root: str) -> View:
    found = replace(pair(), trust=Trust("ca", None, (root,)))
    return View(policy=RULES, snapshot=snapshot(bundle(NEW, OLD), found), now=NOW)


def test_words_are_named_as_they_are_typed() -> None:
    """In the history."""
    assert [verb(k) for k in ("pause", "clients-trust")] == ["rotation pause", "rotation clients trust"]


def test_root_that_is_meant_before_a_rotation_is_seen() -> None:
    """None, or several: what can be done is in the refusal."""
    found = [Target(world=None, change=Change(bundle="ca", new=ca, former=())) for ca in (NEW, OLD)]  # type: ignore[arg-type]
    assert only(found[:1], "new") == found[0]
    with pytest.raises(HostError, match=r"several roots may be meant: CN=new \(SHA-256 ca-2\), CN=old .*add --root"):
        only(found, "")
    with pytest.raises(HostError, match="no root 'x' stands in a trust bundle"):
        only([], "x")
