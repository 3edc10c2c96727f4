"""Which processes `certagent init` takes for servers, and which unit each belongs to."""

import pytest

from certagent.core.policy import Owner
from certagent.operations.systemd import command_in
from certagent.process.classify import Ids
from certagent.process.servers import Server, foreign, of_unit, unit_in

CGROUPS = [
    ("0::/system.slice/cockroach.service\n", "cockroach.service"),
    ("12:pids:/system.slice/cockroach@2.service\n0::/x\n", "cockroach@2.service"),
    ("0::/system.slice/system-cockroach.slice/cockroach@2.service/sub\n", "cockroach@2.service"),
    ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/cockroach.service\n", ""),
    ("0::/user.slice/user@1000.service/system.slice/cockroach.service\n", ""),
    ("0::/\n", ""),
]


@pytest.mark.parametrize(("cgroup", "unit"), CGROUPS)
def test_server_unit_is_systems_own(cgroup: str, unit: str) -> None:
    """A group below a user's slice is named by that user: it is no unit of the system."""
    assert unit == unit_in(cgroup)


SHOWN = (
    "{ path=/usr/local/bin/cockroach ; argv[]=/usr/local/bin/cockroach WORDS ; ignore_errors=no ; start_time=[n/a] }"
)


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("start --certs-dir=certs --join=db1", "/var/lib/cockroach/certs"),
        ("start --certs-dir /srv/certs", "/srv/certs"),
        ("start-single-node", "/var/lib/cockroach/.cockroach-certs"),
        ("sql --certs-dir=certs", None),
        ("--version", None),
    ],
)
def test_server_of_unit_that_does_not_run(words: str, place: str | None) -> None:
    """Its command line is read as that of a process, from its own directory; a client is none."""
    argv = command_in(SHOWN.replace("WORDS", words))
    made = of_unit("cockroach.service", "cockroach", 999, 999, argv, "/var/lib/cockroach")
    assert place == (made.certs_dir if made else None)


@pytest.mark.parametrize(("shown", "words"), [("", []), ("{ argv[]=/bin/x 'a ; b", ["/bin/x", "'a"])])
def test_server_of_unit_odd_command(shown: str, words: list[str]) -> None:
    """No command, and one whose quotes do not match."""
    assert words == command_in(f" {shown}" if not shown else shown.replace("{ argv", "{ path=/bin/x ; argv"))
    assert of_unit("x.service", "root", 0, 0, [], "/") is None


def server(uid: int, *groups: int) -> Server:
    return Server(pid=7, uid=uid, gid=uid, user=str(uid), ids=Ids((uid, uid, uid), frozenset({uid, *groups})))


@pytest.mark.parametrize(
    ("one", "owner", "counts"),
    [
        (server(999), Owner("cockroach", 999, 999), True),
        (server(1000), Owner("cockroach", 999, 999), False),
        (server(1000, 999), Owner("root", 0, 999), True),
        (server(1000), Owner("root", 0, 0), False),
        (server(0), Owner("cockroach", 999, 999), False),
    ],
)
def test_server_counts_by_the_agents_rule(one: Server, owner: Owner, counts: bool) -> None:
    """Only a process of the owner, or of the group that may read root's keys, has a say."""
    assert counts == (foreign(one, owner) == "")
