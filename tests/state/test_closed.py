"""A state directory that this user may not use: whose it is, and the command, for the agent and for who looks."""

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from certagent.posix.as_user import apart
from certagent.posix.errors import HostError
from certagent.state.directory import StateDirectory
from certagent.state.ledger import Ledger
from certagent.state.ownership import LEDGER
from tests.system.running import open_tmp

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("usual_umask")]
NOBODY = pwd.getpwnam("nobody")
USER = (NOBODY.pw_uid, NOBODY.pw_gid)


@pytest.fixture
def place() -> Iterator[Path]:
    """A state directory of root's with a ledger, below a directory that everybody may enter."""
    base = open_tmp()
    state = base / "state"
    made = StateDirectory(str(state))
    made.open()
    made.ledger.close()
    made.unlock()
    yield state
    shutil.rmtree(base)


def of_root(state: Path) -> None:
    state.chmod(0o700)


def open_of_root(state: Path) -> None:
    state.chmod(0o755)
    (state / LEDGER).chmod(0o600)


def below_closed(state: Path) -> None:
    state.parent.chmod(0o700)


def opens(state: Path) -> str:
    try:
        StateDirectory(str(state)).open()
    except HostError as error:
        return str(error)
    return ""


def looks(state: Path) -> str:
    try:
        Ledger.looking(str(state / LEDGER))
    except HostError as error:
        return str(error)
    return ""


GIVEN = "run this as root, or, where the agent runs as nobody, chown -R nobody {state}"


@pytest.mark.parametrize(
    ("closes", "does", "sentence"),
    [
        (of_root, opens, f"Permission denied: nobody may not enter {{state}} (owner root, mode 0700); {GIVEN}"),
        (of_root, looks, f"Permission denied: nobody may not enter {{state}} (owner root, mode 0700); {GIVEN}"),
        (open_of_root, looks, f"nobody may not read {{state}}/{LEDGER} (owner root, mode 0600); {GIVEN}"),
        (
            below_closed,
            opens,
            "nobody may not enter {base} (owner root, mode 0700); chmod o+x {base}, or set agent.state",
        ),
        (below_closed, looks, "where the agent runs as nobody, chmod o+x {base}"),
    ],
)
def test_state_directory_that_is_closed_names_owner_and_command(
    place: Path, closes: Callable[[Path], None], does: Callable[[Path], str], sentence: str
) -> None:
    """No error number alone: who may not do what, whose it is, and what to run."""
    closes(place)
    told = apart(USER, lambda: does(place))
    assert sentence.format(state=place, base=place.parent) in told
    assert "[Errno" not in told


def test_state_directory_that_cannot_be_made_names_the_command(place: Path) -> None:
    """The nearest directory that is there, its owner, and the command that makes the missing one."""
    missing = place.parent / "new" / "state"
    told = apart(USER, lambda: opens(missing))
    assert told.startswith(
        f"cannot create {missing}: Permission denied: nobody may not write {place.parent} (owner root"
    )
    assert told.endswith(f"install -d -m 0700 -o nobody {missing}, or set agent.state_dir")


def test_state_directory_of_root_without_a_ledger_is_closed_to_a_user(place: Path) -> None:
    """It may be entered and read; nothing can be made in it."""
    for each in place.iterdir():
        each.unlink()
    place.chmod(0o755)
    told = apart(USER, lambda: opens(place))
    assert f"nobody may not write {place} (owner root, mode 0755)" in told
    assert told.endswith(f"chown -R nobody {place}")
    os.chown(place, *USER)
    assert apart(USER, lambda: opens(place)) == ""


def test_ledger_that_is_no_database_is_not_called_closed(tmp_path: Path) -> None:
    """What no right mends has to be repaired."""
    (tmp_path / LEDGER).write_text("no database, " * 100)
    assert looks(tmp_path).endswith("file is not a database; free disk space or repair it")
