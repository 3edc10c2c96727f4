"""What keeps a certificate from being installed is said at once, with the file, the cause and the remedy."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest

from certagent.core.actions import Install, Issue
from certagent.core.decide import decide
from certagent.core.facts import Attempt, Pair, Snapshot
from certagent.core.findings import Finding
from tests.core.building import DAY, NOW, file, leaf, pair, policy, snapshot, staged, want

HOUR = timedelta(hours=1)


def found(view: Snapshot, **changes: Any) -> list[Finding]:
    rules = policy(want("ca"), want("node", **changes))
    return [f for f in decide(rules, view, NOW).findings if f.code == "install.blocked"]


def fixed(where: str, fixed: Any, **changes: Any) -> Pair:
    """The live pair with a flag on one of its files."""
    whole = pair()
    part = whole.cert if where == "crt" else whole.key
    assert part is not None
    changed = replace(part, file=replace(part.file, fixed=fixed, **changes))
    return replace(whole, cert=changed) if where == "crt" else replace(whole, key=changed)


@pytest.mark.parametrize(
    ("where", "word", "remedy"),
    [
        ("crt", "immutable", "chattr -i /certs/node.crt"),
        ("key", "append-only", "chattr -a /certs/node.key"),
        ("crt", "mount point", "umount /certs/node.crt; mount the whole directory instead"),
    ],
)
def test_obstacle_is_found_before_renewal(where: str, word: Any, remedy: str) -> None:
    """A file that cannot be replaced is a warning long before a renewal is due, and names the remedy."""
    [one] = found(snapshot(pair("ca"), fixed(where, word)))
    assert (one.severity, one.file, one.remedy) == ("warning", f"node.{where}", remedy)
    assert f"node.{where} is {'a ' if word == 'mount point' else ''}{word}, so it cannot be replaced" in one.message


def test_obstacle_blocks_installation() -> None:
    """What is staged waits for the file to become replaceable, and that is critical; no swap is tried."""
    view = snapshot(pair("ca"), fixed("crt", "immutable"), staged=(staged(),))
    [one] = found(view)
    assert (one.severity, one.message) == (
        "critical",
        "node.crt is immutable, so it cannot be replaced: a new certificate waits for that",
    )
    plan = decide(policy(want("ca"), want("node")), view, NOW)
    assert not any(isinstance(a, Install) for a in plan.actions)
    assert [b.reason for b in plan.blocked if b.action == "install"] == [
        "node.crt is immutable, so it cannot be replaced"
    ]


def test_obstacle_directory_is_one_finding() -> None:
    """An immutable directory is one finding, whatever is in it."""
    view = snapshot(pair("ca"), fixed("crt", "immutable"), pair("client.root"))
    view = replace(view, directory=replace(view.directory, fixed="immutable"))
    rules = policy(want("ca"), want("node"), want("client.root"))
    [one] = [f for f in decide(rules, view, NOW).findings if f.code == "install.blocked"]
    assert (one.file, one.remedy) == ("/certs", "chattr -i /certs")


@pytest.mark.parametrize("reuse", [True, False])
def test_obstacle_key_that_is_used_again_is_none(reuse: bool) -> None:
    """With `reuse_key` the key stays where it is: its flag keeps nothing from being installed."""
    live = fixed("key", "immutable")
    assert bool(found(snapshot(pair("ca"), live), reuse_key=reuse)) is not reuse
    new = staged()
    assert live.key is not None
    kept = replace(new, pair=replace(new.pair, key=live.key)) if reuse else new
    assert bool(found(snapshot(pair("ca"), live, staged=(kept,)))) is not reuse


def test_obstacle_none_without_live_files_or_authority() -> None:
    """A pair that does not exist yet, one without a key, and one that another tool renews have no obstacle."""
    assert found(snapshot(pair("ca"))) == []
    assert found(snapshot(pair("ca"), replace(pair(), key=None))) == []
    assert found(snapshot(pair("ca"), Pair(pair().name, None, fixed("crt", "immutable").key))) == []
    assert found(snapshot(pair("ca"), fixed("crt", "immutable")), authorities=()) == []


@pytest.mark.parametrize("where", ["crt", "key"])
def test_obstacle_directory_in_place_of_file(where: Literal["crt", "key"]) -> None:
    """A directory in the place of a file blocks the installation; the finding about it says to move it away."""
    whole = fixed(where, "", kind="directory")
    assert whole.cert is not None
    assert whole.key is not None
    cert, key = (replace(part, problem_kind="irregular") for part in (whole.cert, whole.key))
    broken = (
        replace(whole, cert=replace(cert, leaf=None)) if where == "crt" else replace(whole, key=replace(key, spki=None))
    )
    view = snapshot(pair("ca"), broken, staged=(staged(),))
    plan = decide(policy(want("ca"), want("node")), view, NOW)
    assert found(view) == []
    assert {f.code: f.remedy for f in plan.findings if f.file == f"node.{where}"} == {
        f"{'cert' if where == 'crt' else 'key'}.irregular": "move the directory away"
    }
    assert not any(isinstance(a, Install) for a in plan.actions)


def failed(kind: Any = "install", ago: timedelta = HOUR, **changes: Any) -> Attempt:
    return Attempt(kind, "node", NOW - ago, "failed", "cannot replace node.crt: No space left", **changes)


@pytest.mark.parametrize(("times", "severity"), [(1, "warning"), (2, "warning"), (3, "critical")])
def test_failed_swap_is_finding_with_its_cause(times: int, severity: str) -> None:
    """A swap that failed and was undone is a finding in its own words, critical after the third; it is no refusal."""
    tried = (
        Attempt("issue", "node", NOW - 2 * HOUR, "ok", authority="house"),
        *(failed(ago=HOUR / n, fingerprint="node-2") for n in range(1, times + 1)),
    )
    view = snapshot(pair("ca"), pair(), staged=(staged(),), attempts=tried)
    [one] = found(view)
    assert (one.severity, one.file, one.message) == (severity, "node.crt", "cannot replace node.crt: No space left")
    assert "renewal.failing" not in {f.code for f in decide(policy(want("ca"), want("node")), view, NOW).findings}


def test_failed_swap_is_over_once_anything_was_installed() -> None:
    """That certificate is live now, or another one came since: nothing is said of the swap that failed."""
    alive = snapshot(pair("ca"), pair(), attempts=(failed(fingerprint="node-1"),))
    newer = pair()
    assert newer.cert is not None
    recent = int(NOW.timestamp() * 1e9)
    newer = replace(newer, cert=replace(newer.cert, file=file("node.crt", mtime_ns=recent, ctime_ns=recent)))
    assert found(alive) == []
    assert found(snapshot(pair("ca"), newer, attempts=(failed(fingerprint="node-2"),))) == []
    assert len(found(snapshot(pair("ca"), attempts=(failed(fingerprint="node-2"),)))) == 1


def test_failed_rollback_is_not_called_restored() -> None:
    """A rollback that failed is `install.blocked`; no finding says that the previous pair was restored."""
    view = snapshot(pair("ca"), pair(), attempts=(failed("rollback", fingerprint="node-0"),))
    due = decide(policy(want("ca"), want("node")), replace(view, requests=()), NOW + 15 * DAY)
    assert len(found(view)) == 1
    assert not any("was restored" in f.message for f in due.findings)


def test_backoff_after_failed_swap_is_not_called_refusal() -> None:
    """A certificate that could not be swapped in, and is not staged any more, was not refused by anybody."""
    due = pair(cert=leaf(not_before=NOW - 25 * DAY, not_after=NOW + 2 * DAY))
    tried = (
        Attempt("issue", "node", NOW - timedelta(minutes=2), "ok", authority="house"),
        failed(ago=timedelta(minutes=1), fingerprint="node-2"),
    )
    plan = decide(policy(want("ca"), want("node")), snapshot(pair("ca"), due, attempts=tried), NOW)
    assert not any(isinstance(a, Issue) for a in plan.actions)
    [why] = [b.reason for b in plan.blocked if b.action == "issue"]
    assert "after a certificate that could not be installed" in why
    assert "refused" not in why


def test_interrupted_swap_that_stays_is_critical() -> None:
    """An intent that no recovery could remove is a critical finding of the directory."""
    view = snapshot(pair("ca"), pair())
    [one] = found(replace(view, directory=replace(view.directory, interrupted=True)))
    assert (one.severity, one.file) == ("critical", "/certs")


@pytest.mark.parametrize(("count", "more"), [(1, ""), (3, ""), (5, " and 2 more")])
def test_odd_entries_of_staging_area_are_one_finding(count: int, more: str) -> None:
    """Whatever stands in the staging area is one warning, with the command that removes it."""
    names = tuple(f"staged/{n}" for n in range(count))
    view = snapshot(pair("ca"), pair())
    view = replace(view, directory=replace(view.directory, odd=names))
    [one] = [f for f in decide(policy(), view, NOW).findings if f.code == "dir.staging"]
    shown = names[:3]
    assert (one.severity, one.file) == ("warning", "/certs")
    assert one.message == f".certagent contains what certagent did not put there: {', '.join(shown)}{more}"
    assert one.remedy.endswith(f"rm -r {' '.join(f'/certs/.certagent/{n}' for n in shown)}")
