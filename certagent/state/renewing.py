"""Since when this ledger's agent has renewed by the grid of points (core/timing.py): one row in a table of its own.

An earlier version renewed at 2/3 of the lifetime. A leaf from its time counts as seen at that moment: its point of the
grid may be long over, and a quarter of a fleet would renew at the moment of the upgrade. The table is made when the
agent opens the ledger; an older program does not read it.
"""

from datetime import datetime

from certagent.state.database import Database

SCHEMA = "create table if not exists renewing (at real)"
THERE = "select 1 from sqlite_master where type = 'table' and name = 'renewing'"
KNOWN = """
select stem, fingerprint, want, max(at, (select min(at) from renewing)) from adopted where directory = ? order by at
"""
UNKNOWN = "select stem, fingerprint, want, null from adopted where directory = ? order by at"
ADDED = "insert into renewing select ? where not exists (select 1 from renewing)"


def begin_renewing(ledger: Database, now: datetime) -> None:
    """Record that the agent renews by the grid, once for each file. Raises sqlite3.Error."""
    if not ledger.rows(THERE):
        ledger.commit(((SCHEMA, ()), (ADDED, (now.timestamp(),))), synced=False)
