"""Every state of the place where the socket should be: what the agent says that starts, and who asks."""

import errno
import os
import pwd
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certagent.control.binding import bound
from certagent.control.client import DaemonHidden, DaemonSilent, ask
from certagent.control.standing import hidden, silence, unusable
from certagent.posix.as_user import apart
from certagent.posix.errors import HostError
from tests.system.running import open_tmp

NOBODY = pwd.getpwnam("nobody")
USER = (NOBODY.pw_uid, NOBODY.pw_gid)
OTHER = pwd.getpwnam("daemon").pw_uid


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of nobody's, below one of root's that everybody may enter."""
    base = open_tmp()
    made = base / "run"
    made.mkdir()
    made.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(made, *USER)
    yield made
    shutil.rmtree(base)


def died(path: Path, owner: int = NOBODY.pw_uid) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    path.chmod(0o600)
    os.chown(path, owner, -1)


def ordinary(_place: Path) -> None:
    """Nothing is wrong but that no agent runs."""


def absent(place: Path) -> None:
    place.rmdir()


def of_root(place: Path) -> None:
    os.chown(place, 0, 0)


def closed(place: Path) -> None:
    os.chown(place, 0, 0)
    place.chmod(0o700)


def closed_above(place: Path) -> None:
    place.parent.chmod(0o700)


def own_in_roots(place: Path) -> None:
    died(place / "sock")
    os.chown(place, 0, 0)


def of_other(place: Path) -> None:
    died(place / "sock", OTHER)
    os.chown(place, 0, 0)
    place.chmod(0o1777)


def own_stale(place: Path) -> None:
    died(place / "sock")


def file(place: Path) -> None:
    (place / "sock").touch(mode=0o666)


def link(place: Path) -> None:
    (place / "sock").symlink_to("nowhere")


def not_directory(place: Path) -> None:
    place.rmdir()
    place.touch()


SILENT, UNKNOWN = "no agent answers at {sock}", "whether an agent runs is not known: "
MADE = "install -d -o nobody {place}"
GIVEN, NO_WAY = "chown nobody {place}", "nobody may not enter {base} (owner root, mode 0700)"
LEFT = "the socket there, which belongs to {}, is one that an agent left when it died"
STATES: dict[Callable[[Path], None], tuple[str, str]] = {  # what the agent says (""): it listens; what a client is told
    ordinary: ("", "no agent answers at {sock}"),
    own_stale: ("", f"no agent answers at {{sock}} ({LEFT.format('nobody')})"),
    of_root: (
        "nobody may not write {place} (owner root, mode 0755); chown nobody {place}, or set agent.socket",
        f"{SILENT} (there is no socket, and {{place}} belongs to root, so nobody cannot listen there: {GIVEN})",
    ),
    absent: (
        f"cannot make {{place}}: nobody may not write {{base}} (owner root, mode 0755); {MADE}, or set agent.socket",
        "no agent answers at {sock}",
    ),
    closed: (
        "nobody may not enter {place} (owner root, mode 0700); chown nobody {place}, or set agent.socket",
        "whether an agent runs is not known: nobody may not enter {place} (owner root, mode 0700); run this as root",
    ),
    closed_above: (
        f"cannot make {{place}}: {NO_WAY}; chmod o+x {{base}}, or set agent.socket",
        f"{UNKNOWN}{NO_WAY}; run this as root",
    ),
    own_in_roots: (
        "nobody may not write {place} (owner root, mode 0755); chown nobody {place}, or set agent.socket",
        f"no agent answers at {{sock}} ({LEFT.format('nobody')})",
    ),
    of_other: (
        "another user's socket is there: it belongs to daemon; stop that user's agent; if none runs, remove the socket",
        f"{UNKNOWN}nobody may not connect to {{sock}} (owner daemon, mode 0600); run this as root or as daemon",
    ),
    file: (
        "another file that is not a socket is there; remove it",
        "no agent answers at {sock} (what is there is not a socket; remove it)",
    ),
    link: (
        "another file that is not a socket is there; remove it",
        "no agent answers at {sock} (a symbolic link is there, no socket; remove it)",
    ),
    not_directory: (
        "cannot make {place}: File exists",
        "no agent answers at {sock} ({place} is not a directory)",
    ),
}


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("state", STATES, ids=[each.__name__ for each in STATES])
def test_socket_place_is_told_as_it_is(place: Path, state: Callable[[Path], None]) -> None:
    """The agent of nobody and a client of nobody name the owner, the directory and the command, each time."""
    sock = str(place / "sock")
    state(place)

    def asked() -> str:
        try:
            ask(sock, "status", {}, 1.0)
        except DaemonHidden:
            return "; ".join(hidden(sock))
        except DaemonSilent:
            return silence(sock, NOBODY.pw_uid)
        return "answered"

    def listens() -> str:
        try:
            bound(sock, others="refuse").close()
        except HostError as error:
            return str(error)
        return ""

    names = {"sock": sock, "place": place, "base": place.parent}
    agent, client = (text.format(**names) for text in STATES[state])
    assert apart(USER, asked) == client
    assert apart(USER, listens) == (agent and f"cannot bind {sock}: {agent}")


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
def test_socket_of_an_unknown_agent_is_judged_by_the_directory(place: Path) -> None:
    """Where no agent has run, whose directory it is is said to other users; root's own agent may listen anywhere."""
    sock = str(place / "sock")
    plain = f"no agent answers at {sock}"
    assert silence(sock, None) == silence(sock, 0) == plain
    other = apart((OTHER, OTHER), lambda: silence(sock, None))
    assert other == f"{plain} (there is no socket, and {place} belongs to nobody)"


def test_socket_errors_of_the_kernel_stay_what_they_are(tmp_path: Path) -> None:
    """A read-only file system names the unit's setting; what owners and modes do not explain is the kernel's word."""
    sock = str(tmp_path / "sock")
    assert unusable(sock, OSError(errno.EROFS, "Read-only")).startswith(f"{tmp_path} is read-only; mount it writable")
    assert unusable(sock, OSError(errno.EIO, "I/O error")) == "I/O error"
    found = unusable(sock, PermissionError(errno.EPERM, "Operation not permitted"))
    assert found.startswith("Operation not permitted; let ")
