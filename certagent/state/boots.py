"""What the wall clock was believed to be at this boot of the host, in the ledger's file: a restart forgets no jump.

One row. The table is made when the first moment is recorded, so that an older program can still use the file. It is not
synced: what a power cut loses belongs to a boot that is over.
"""

import os
from contextlib import suppress
from datetime import datetime

from certagent.posix.errors import HostError
from certagent.state.ledger import Ledger
from certagent.state.rows import moment

BOOT_ID = "/proc/sys/kernel/random/boot_id"
CLOCKS = "/proc/self/ns/time"  # a container may have a boot clock of its own
THERE = "select 1 from sqlite_master where type = 'table' and name = 'boots'"
SCHEMA = "create table if not exists boots (boot text, begin real)"
INSERT = "insert into boots values (?, ?)"


def this_boot() -> str | None:
    """What tells this boot, and this boot clock, from every other; None where the kernel does not say."""
    try:
        with open(BOOT_ID, encoding="ascii") as file:
            boot = file.read().strip()
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        boot += " " + os.readlink(CLOCKS)
    return boot


class Boots:
    """Of one agent."""

    def __init__(self, ledger: Ledger, boot: str | None = None) -> None:
        """`boot`: the name of this boot, the kernel's unless one is given."""
        self._ledger, self._boot = ledger, boot or this_boot()

    def begin(self) -> datetime | None:
        """When this boot began by the wall clock that was believed last; None where that is not known."""
        with suppress(HostError):
            if self._boot is not None and self._ledger.execute(THERE):
                rows = self._ledger.execute("select begin from boots where boot = ?", self._boot)
                return moment(rows[0][0]) if rows else None
        return None

    def remember(self, begin: datetime) -> bool:
        """Record it in place of what was known; whether that could be written."""
        if self._boot is None:
            return True
        with suppress(HostError):
            row = (INSERT, (self._boot, begin.timestamp()))
            self._ledger.write((SCHEMA, ()), ("delete from boots", ()), row, synced=False)
            return True
        return False
