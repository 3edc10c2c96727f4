"""A full disk, a quota, an I/O error at every system call of a swap: the old pair or the new one, never a mixture."""

import os
from pathlib import Path

import pytest

from certagent.certs_dir.swap import Store
from tests.certs_dir.test_swap_crash import SCRIPT, boundaries, fresh, keys, program, strace
from tests.making import filled, keyed, matched

pytestmark = pytest.mark.slow
FAULTS = {
    "openat": "ENOSPC",
    "mkdirat": "EDQUOT",
    "write": "ENOSPC",
    "fsync": "EIO",
    "fchmod": "EIO",
    "unlinkat": "EIO",
}
RENAME = "ENOSPC"


def pair(certs: Path) -> tuple[bytes, bytes]:
    return (certs / "node.crt").read_bytes(), (certs / "node.key").read_bytes()


def test_swap_error_at_every_call_recovers(tmp_path: Path) -> None:
    """The failure is reported; one recovery then makes the directory whole, and no key is ever wide."""
    template = tmp_path / "template"
    ca = filled(template)
    new = ca.pair()
    Store(str(template)).stage("node", *keyed(new))
    old = pair(template)
    points = boundaries(fresh(template, tmp_path / "count"), "node", "write")
    assert {"write", "fsync"} <= {call for call, _ in points}
    outcomes = set()
    for call, ordinal in points:
        certs = fresh(template, tmp_path / "certs")
        inject = f"inject={call}:error={FAULTS.get(call, RENAME)}:when={ordinal}"
        done = strace("-e", f"trace={call}", "-e", inject, *program(SCRIPT, str(certs), "node"))
        told = done.returncode != 0
        if not (certs / ".certagent" / "intent").exists() and told:
            assert pair(certs) in (old, new), (call, ordinal)
        Store(str(certs)).recover()
        assert matched(*pair(certs)), (call, ordinal)
        assert pair(certs) in (old, new), (call, ordinal)
        assert told or pair(certs) == new, (call, ordinal)
        assert {p.stat().st_mode & 0o777 for p in keys(certs)} == {0o600}, (call, ordinal)
        outcomes.add((told, pair(certs) == new))
        assert os.listdir(certs).count("node.key") == 1
    assert (True, False) in outcomes
