"""A fleet whose hosts dial each other all the time: none of its handshakes fails, whatever happens to certificates.

`make streams` prints the table of all scenarios; CERTAGENT_STREAMS=long runs those that CI leaves out, too.
"""

import os
import random

import pytest

from tests.streams.host import Member
from tests.streams.postgres import PostgresMember
from tests.streams.rows import ROWS, Row, leaf_rotation
from tests.streams.table import ran

LONG = os.environ.get("CERTAGENT_STREAMS") == "long"
SEED = random.SystemRandom().randrange(1, 1 << 32) if LONG else 7
pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.usefixtures("usual_umask")]


def unharmed(row: Row, member: type[Member] = Member) -> None:
    """Every condition of the scenario was met, and no handshake failed."""
    found = ran(row, SEED, member)
    print(f"{row.name}, seed {SEED}: {found.failed} of {found.total} failed in {found.seconds} s {found.note or ''}")
    assert (found.problem, found.failed, found.texts) == ("", 0, "")
    assert found.total > 100


@pytest.mark.parametrize("row", [r for r in ROWS if r.sound and (r.quick or LONG)], ids=lambda row: str(row.name))
def test_fleet_of_standins_fails_no_handshake(row: Row) -> None:
    """Each scenario ends as it should, and no connection between any two hosts or clients was refused meanwhile."""
    unharmed(row)


@pytest.mark.real
def test_fleet_of_postgres_servers_fails_no_handshake() -> None:
    """The same with servers that nobody here wrote: all leaves are renewed, with other names."""
    unharmed(Row(run=leaf_rotation), PostgresMember)
