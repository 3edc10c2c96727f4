"""A fleet whose hosts dial each other all the time: none of its handshakes fails, whatever happens to certificates.

`make streams` prints the table of all scenarios. CERTAGENT_STREAMS=long runs those that CI leaves out, 20 schedules of
a CA rotation, and 3 with PostgreSQL, from seed CERTAGENT_STREAMS_SEED on. Fleets run beside each other (pytest -n 4):
each has network namespaces of its own.
"""

import os

import pytest

from tests.streams.dialing import PAUSE
from tests.streams.host import Member
from tests.streams.postgres import PostgresMember
from tests.streams.rotations import rotation
from tests.streams.rows import ROWS, Row, leaf_rotation
from tests.streams.table import ran
from tests.streams.troubles import ROTATIONS, by_verbs, member_forgotten

LONG = os.environ.get("CERTAGENT_STREAMS") == "long"
SEED = int(os.environ.get("CERTAGENT_STREAMS_SEED", "7"))
SCHEDULES = range(SEED, SEED + 20) if LONG else (3, 8, 11)  # of the stand-in
FEW = range(SEED, SEED + 3) if LONG else (5,)  # of PostgreSQL
CHOSEN = [r for r in (*ROWS, *ROTATIONS) if r.sound and r.run is not rotation and (r.quick or LONG)]
pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.usefixtures("usual_umask")]


def apart(value: object, name: str) -> object:
    """A parameter whose test runs beside the others of this file."""
    return pytest.param(value, id=name, marks=pytest.mark.xdist_group(f"streams {name}"))


def unharmed(row: Row, seed: int = SEED, member: type[Member] = Member) -> None:
    """Every condition of the scenario was met, and no handshake failed. Who was not reached is printed."""
    found = ran(row, seed, member, pause=PAUSE if LONG else 2 * PAUSE)
    counts = f"{found.failed} failed, {found.unreached} unreached of {found.total}"
    print(f"{row.name}, seed {seed}, {member.__name__}: {counts} in {found.seconds} s {found.note or ''}")
    assert (found.problem, found.failed, found.texts) == ("", 0, "")
    assert found.total > 100


@pytest.mark.parametrize("row", [apart(row, row.name) for row in CHOSEN])
def test_fleet_of_standins_fails_no_handshake(row: Row) -> None:
    """Each scenario ends as it should, and no connection between any two hosts or clients was refused meanwhile."""
    unharmed(row)


@pytest.mark.parametrize("seed", [apart(seed, f"seed-{seed}") for seed in SCHEDULES])
def test_ca_rotation_in_a_random_schedule_fails_no_handshake(seed: int) -> None:
    """The agents replace the CA, whoever is off or cut off meanwhile, in whatever order people and CA do their part."""
    unharmed(Row(run=rotation), seed)


@pytest.mark.real
@pytest.mark.parametrize("seed", [apart(seed, f"postgres-{seed}") for seed in FEW])
def test_ca_rotation_of_postgres_servers_fails_no_handshake(seed: int) -> None:
    """The same with servers that nobody here wrote."""
    unharmed(Row(run=rotation), seed, PostgresMember)


@pytest.mark.real
@pytest.mark.parametrize("run", [leaf_rotation, *((by_verbs, member_forgotten) if LONG else ())])
def test_fleet_of_postgres_servers_fails_no_handshake(run: Row) -> None:
    """Their leaves are renewed, with other names; in the long form a CA is replaced by commands, and without a host."""
    unharmed(Row(run=run), member=PostgresMember)  # type: ignore[arg-type]
