"""Power cuts on ext4 and xfs, and each durability point left out in turn.

A cut before each call: what was told to others holds when the power is back, and the next agent mends the rest. Then
each sync that the agent makes does nothing, once, and a cut must show it. The syncs of one directory after another are
left out together: on a file system with one journal each of them makes all names before it durable, so that one alone
cannot be missed there; on others (btrfs, and POSIX by its word) each one counts for itself.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Counted
from tests.faults.forms import LONG
from tests.servers.process import missing

pytestmark = pytest.mark.root
ROOT = Path(__file__).parent.parent.parent
AREA = "/certs/.certagent"
EVERYWHERE = [  # scenario, directory that is a disk of its own, kind of file system, an unrelated sync before each cut
    ("rotation", "certs", "xfs", True),
    ("rotation", "certs", "xfs", False),
    ("rotation", "certs", "ext4", True),
    ("rotation", "certs", "ext4", False),
    ("first start", "ca", "xfs", True),
    ("first start", "ca", "ext4", False),
    ("first start", "state", "xfs", True),
    ("request", "certs", "xfs", True),
    ("request", "outbox", "xfs", True),
]
MORE = [
    (scenario, part, kind, unrelated)
    for scenario, parts in (("first start", ("certs", "state", "ca")), ("pruning", ("certs",)), ("discard", ("certs",)))
    for part in parts
    for kind in ("xfs", "ext4")
    for unrelated in (True, False)
]


@dataclass(frozen=True, kw_only=True)
class Point:
    """Syncs that are left out, and the one cut that shows it. `unrelated`: somebody else syncs before the cut."""

    scenario: str
    part: str
    omitted: str
    before: str
    unrelated: bool = True


POINTS = {
    "the staged key": Point(
        scenario="rotation", part="certs", omitted=f"{AREA}/staged/*node.key*", before="fsync /certs"
    ),
    "the staged certificate": Point(
        scenario="rotation", part="certs", omitted=f"{AREA}/staged/*node.crt*", before="fsync /certs"
    ),
    "the key of a generation": Point(
        scenario="rotation", part="certs", omitted=f"{AREA}/taking/.key.new", before="fsync /certs"
    ),
    "the certificate of a generation": Point(
        scenario="rotation", part="certs", omitted=f"{AREA}/taking/.crt.new", before="fsync /certs"
    ),
    "the names of the live pair": Point(
        scenario="rotation", part="certs", omitted=f"@(/certs|{AREA}|{AREA}/staged)", before="end", unrelated=False
    ),
    "the key of a request": Point(
        scenario="request", part="certs", omitted=f"{AREA}/pending/.node.key.new", before="fsync /outbox"
    ),
    "the request": Point(
        scenario="request", part="certs", omitted=f"{AREA}/pending/.node.csr.new", before="fsync /outbox"
    ),
    "the name of the request": Point(
        scenario="request", part="certs", omitted=f"{AREA}/pending", before="fsync /outbox", unrelated=False
    ),
    "the request in the outbox": Point(
        scenario="request", part="outbox", omitted="/outbox/.*.new", before="fsync /outbox"
    ),
    "the key of the CA": Point(scenario="first start", part="ca", omitted="/ca/ca.key.new", before="fsync /ca"),
    "the certificate of the CA": Point(scenario="first start", part="ca", omitted="/ca/ca.crt.new", before="fsync /ca"),
    "the names of the CA": Point(
        scenario="first start", part="ca", omitted="/ca", before="rename /certs/ca.crt", unrelated=False
    ),
    "an attempt in the ledger": Point(
        scenario="first start", part="state", omitted="/state/ledger.db-wal", before="mkdir /ca", unrelated=False
    ),
    "the authorities' state": Point(
        scenario="first start",
        part="state",
        omitted="/state/authority/*.new",
        before="fsync /state/authority",
    ),
}
UNPROVEN = {  # what no cut can show, and why it is there
    f"{AREA}/.intent.new": "a recovery goes by the name of the intent, and by keys and certificates, not by its text",
    f"{AREA}/taking": "its names are durable with the rename of the directory; other file systems give no such order",
    f"{AREA}/old/node": "a later sync of the same journal covers it; other file systems give no such order",
    "/outbox": "a request that disappears is written again",
    "/state/authority": "a later sync of the same journal covers it; other file systems give no such order",
    "/state": "SQLite's own: the names of its files",
    "/state/ledger.db": "SQLite's own: a checkpoint, which the log still holds",
    "/state/ledger.db-journal": "SQLite's own: before the log is there",
}


def cut(base: Path, order: dict[str, Any]) -> dict[str, Any]:
    """What a run in a mount namespace of its own reports."""
    for program, package in (("mkfs.xfs", "xfsprogs"), ("mkfs.ext4", "e2fsprogs"), ("unshare", "util-linux")):
        if shutil.which(program) is None:
            missing(program, f"apt-get install -y {package}")
    apart = ["unshare", "--mount", "--propagation", "private"]
    command = [*apart, sys.executable, "-m", "tests.faults.power", json.dumps({**order, "base": str(base)})]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def alone(rows: list[Any]) -> list[Any]:
    """Each row may run in a process of its own."""
    return [
        pytest.param(row, id=f"row{n}", marks=pytest.mark.xdist_group(f"power {row}")) for n, row in enumerate(rows)
    ]


@pytest.mark.parametrize("row", alone(EVERYWHERE + MORE if LONG else EVERYWHERE))
def test_power_cut_before_each_call_loses_no_promise(
    row: tuple[str, str, str, bool], tmp_path: Path, counted: Counted
) -> None:
    """What was installed, recorded or asked for is so at once; the next agent does the rest. Each sync is known."""
    scenario, part, kind, unrelated = row
    report = cut(tmp_path, {"scenario": scenario, "part": part, "kind": kind, "unrelated": unrelated})
    assert report["failed"] == ""
    known = [pattern for p in POINTS.values() for pattern in alternatives(p.omitted)] + list(UNPROVEN)
    assert [] == [s for s in report["syncs"] if not any(fnmatch(s, pattern) for pattern in known)]
    told = ", with an unrelated sync" if unrelated else ""
    counted(f"power cuts, {scenario} on {kind} ({part}{told}): {report['cuts']}")


def alternatives(pattern: str) -> list[str]:
    """The patterns of which one has to match: `@(a|b)` means a or b."""
    return pattern[2:-1].split("|") if pattern.startswith("@(") else [pattern]


@pytest.mark.parametrize("name", alone(list(POINTS)))
def test_sync_left_out_is_shown_by_a_cut(name: str, tmp_path: Path, counted: Counted) -> None:
    """The same cut shows nothing with that sync, and something without it: on xfs, where contents come late."""
    point = POINTS[name]
    order = {"scenario": point.scenario, "part": point.part, "kind": "xfs", "before": point.before}
    order |= {"unrelated": point.unrelated}
    for omitted, shown in (("", False), (point.omitted, True)):
        place = tmp_path / str(shown)
        place.mkdir()
        report = cut(place, {**order, "omitted": omitted})
        assert report["cuts"] == 1
        assert shown == (report["failed"] != ""), report["failed"]
    counted(f"durability point, {name}: {point.omitted} is shown by the cut before {point.before}")
