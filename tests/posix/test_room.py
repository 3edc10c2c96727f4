"""What is said of a file system without room."""

import errno
import sqlite3
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from certagent.posix.errors import HostError
from certagent.posix.room import shortage, told
from certagent.state.database import without_room
from certagent.state.directory import StateDirectory
from certagent.state.ledger import Ledger
from tests.system.hanging import Deaf
from tests.system.test_disk import fill, mounted

FULL = OSError(errno.ENOSPC, "No space left on device", "x")


def test_disk_with_room_is_no_shortage(tmp_path: Path) -> None:
    """Neither is a path that is not there, of which another error tells."""
    assert (shortage(str(tmp_path)), shortage("/nowhere/at/all")) == ("", "")


def test_error_of_a_full_disk_names_path_and_room(tmp_path: Path) -> None:
    """Other errors, and a path that is gone, stay as they are."""
    said = told(FULL, str(tmp_path))
    assert said.startswith(f"No space left on device: {tmp_path}: ")
    assert said.endswith("inodes are free; free space there")
    assert told(FULL, "/nowhere/at/all") == str(FULL)
    assert told(HostError("no"), str(tmp_path)) == "no"


@pytest.mark.root
def test_directory_that_hangs_is_not_asked(tmp_path: Path) -> None:
    """Nothing is known of its room, and nobody waits for it."""
    with Deaf(tmp_path):
        assert (shortage(str(tmp_path)), told(FULL, str(tmp_path))) == ("", str(FULL))


def test_error_that_sqlite_did_not_raise_says_nothing_of_the_disk(tmp_path: Path) -> None:
    """Such an error is this agent's own: the directory does not respond. Nor does a damaged file mean a full disk."""
    for error in (sqlite3.OperationalError("it does not respond"), OSError(errno.EIO, "Input/output error")):
        assert without_room(str(tmp_path / "ledger.db"), error) == ""


@pytest.mark.root
def test_state_directory_without_inodes_says_so(tmp_path: Path) -> None:
    """The lock cannot be made: the agent names the directory and what is left there."""
    place = tmp_path / "state"
    with mounted(place, "512k,nr_inodes=4"):
        with suppress(OSError):
            for n in range(100):
                (place / str(n)).touch()
        with pytest.raises(HostError, match=f"cannot use {place}: .*{place}: [0-9]+ KiB and 0 inodes are free"):
            StateDirectory(str(place)).open()


@pytest.mark.root
@pytest.mark.parametrize("use", ["blocks", "inodes", "read-only"])
def test_ledger_without_room_says_so(tmp_path: Path, use: str) -> None:
    """Neither sqlite's words nor an error number: the directory, what is left, and what to do."""
    place = tmp_path / "state"
    with mounted(place, "512k,nr_inodes=40"):
        ledger = Ledger.writing(str(place / "ledger.db"))
        if use == "blocks":
            fill(place)
        ledger.close()  # its log takes two inodes until then
        if use == "inodes":
            with suppress(OSError):
                for n in range(100):
                    (place / str(n)).touch()
        if use == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        how = "mounted read-only; remount it" if use == "read-only" else "full ("
        assert f"the file system of {place} is {how}" in shortage(str(place))
        if use != "inodes":  # the files of the ledger are there
            with pytest.raises(HostError, match=f"the file system of {place} is "):
                written(str(place / "ledger.db"))


def written(path: str) -> None:
    ledger = Ledger.writing(path)
    try:
        ledger.write(("create table much (it text)", ()), ("insert into much values (?)", ("x" * 500_000,)))
    finally:
        ledger.close()
