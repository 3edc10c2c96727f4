"""The text file of metrics: complete at every moment, readable for the exporter, and never put where others lead it."""

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from certagent.agent.own_unit import read_only_remedy
from certagent.agent.textfile import CHANGED, Textfile, write_file
from certagent.posix.clock import clock
from certagent.posix.errors import HostError
from tests.servers.process import missing
from tests.servers.prometheus import INSTALL
from tests.system.hanging import Deaf
from tests.system.running import open_tmp
from tests.waiting import wait_until

NAME = "certagent-config.prom"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory of ours that nobody else may write."""
    found = tmp_path / "textfile"
    found.mkdir()
    found.chmod(0o755)
    return found


@pytest.mark.usefixtures("usual_umask")
def test_textfile_is_readable_for_everybody_whatever_the_umask(place: Path) -> None:
    """Mode 0644 under a umask that allows nothing to others; nothing else is left in the directory."""
    os.umask(0o077)
    write_file(str(place), NAME, "a 1\n")
    write_file(str(place), NAME, "a 2\n")
    assert (place / NAME).read_text() == "a 2\n"
    assert stat.S_IMODE((place / NAME).stat().st_mode) == 0o644
    assert os.listdir(place) == [NAME]


def test_textfile_replaces_links_and_follows_none(place: Path, tmp_path: Path) -> None:
    """A link at its name, or at that of its first form, is replaced: what it leads to stays as it is."""
    key = tmp_path / "node.key"
    key.write_text("a key")
    for name in (NAME, f".{NAME}.tmp"):
        (place / name).symlink_to(key)
    write_file(str(place), NAME, "a 1\n")
    assert (key.read_text(), (place / NAME).read_text()) == ("a key", "a 1\n")
    assert not (place / NAME).is_symlink()


def test_textfile_is_not_put_where_others_could_have_led_it(place: Path) -> None:
    """A directory that everybody may write is refused, one above it too; with the sticky bit it is not."""
    place.chmod(0o777)
    inner = place / "inner"
    inner.mkdir(mode=0o755)
    for directory in (place, inner):
        with pytest.raises(HostError, match=f"everybody may write {place}; chmod go-w"):
            write_file(str(directory), NAME, "a 1\n")
    place.chmod(0o1777)
    write_file(str(place), NAME, "a 1\n")
    assert (place / NAME).exists()


@pytest.mark.root
def test_textfile_of_root_is_not_put_into_the_directory_of_another_user(place: Path) -> None:
    """Whoever owns the way to the directory could lead root into another one."""
    os.chown(place, 65534, 65534)
    with pytest.raises(HostError, match="belongs to nobody"):
        write_file(str(place), NAME, "a 1\n")


def test_textfile_that_cannot_replace_its_file_leaves_nothing(place: Path) -> None:
    """A directory at its name: the error is raised, and the first form is removed."""
    (place / NAME).mkdir()
    with pytest.raises(IsADirectoryError):
        write_file(str(place), NAME, "a 1\n")
    assert os.listdir(place) == [NAME]


def written(textfile: Textfile, directory: str) -> list[str]:
    """What its findings say after a turn."""
    textfile.turned(directory, clock())
    textfile.wait(60)
    return [f"{f.code} {f.message}" for f in textfile.findings(clock())]


def broken() -> str:
    raise KeyError("surprise")


PROBLEMS: list[tuple[str, Callable[[], str], str]] = [
    ("no such directory", lambda: "a 1\n", "{place}/none: No such file or directory; create it"),
    ("a mistake of ours", broken, "KeyError: 'surprise'"),
]


@pytest.mark.parametrize(("label", "text", "expected"), PROBLEMS, ids=[p[0] for p in PROBLEMS])
def test_textfile_problem_is_finding(label: str, text: Callable[[], str], expected: str, place: Path) -> None:
    """Whatever goes wrong is the finding metrics.unwritable, with the reason, and ends nothing."""
    directory = str(place / "none") if "directory" in label else str(place)
    found = written(Textfile("config", text), directory)
    assert found == [f"metrics.unwritable metrics are not written: {expected.format(place=place)}"]


def test_textfile_follows_the_setting(place: Path) -> None:
    """Nothing is written without a directory; another one takes effect with the next turn, and a finding ends."""
    textfile = Textfile("db1", lambda: "a 1\n")
    assert written(textfile, "") == []
    assert len(written(textfile, str(place / "none"))) == 1
    (place / "none").mkdir(mode=0o755)
    textfile.turned(str(place / "none"), clock())
    wait_until((place / "none" / "certagent-db1.prom").exists, "the file is written")
    wait_until(lambda: not textfile.findings(clock()), "the finding is resolved")
    assert written(textfile, str(place)) == []
    assert (place / "certagent-db1.prom").read_text() == "a 1\n"


def test_textfile_wakes_the_loop_with_its_finding(place: Path) -> None:
    """The finding does not wait for the next rescan, nor does its end; what goes well wakes nobody."""
    heard: list[str] = []
    textfile = Textfile("db1", lambda: "a 1\n", heard.append)
    textfile.turned(str(place), clock())
    wait_until((place / "certagent-db1.prom").exists, "the file is written")
    assert heard == []
    textfile.turned(str(place / "none"), clock())
    wait_until(lambda: heard == [CHANGED], "the loop is woken by the finding")
    assert textfile.findings(clock())
    (place / "none").mkdir(mode=0o755)
    textfile.turned(str(place / "none"), clock())
    wait_until(lambda: heard == [CHANGED] * 2, "the loop is woken by its end")
    assert textfile.findings(clock()) == ()


@pytest.mark.root
def test_textfile_on_read_only_mount_has_a_remedy(place: Path) -> None:
    """What the unit or the mount keeps read-only: the finding says what to do about that."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=0755", "tmpfs", place], check=True)
    try:
        (found,) = written(Textfile("config", lambda: "a 1\n"), str(place))
    finally:
        subprocess.run(["umount", place], check=True)
    assert found.endswith(f"{place}: Read-only file system; {read_only_remedy(str(place))}")


@pytest.mark.root
@pytest.mark.slow
def test_textfile_on_hung_mount_delays_nobody(place: Path) -> None:
    """A directory that does not respond is the finding, nobody waits, and the file comes with the end of the mount."""
    textfile = Textfile("config", lambda: "a 1\n")
    with Deaf(place):
        textfile.turned(str(place), clock())
        said = wait_until(lambda: [f.message for f in textfile.findings(clock())], "the finding appears")
        textfile.turned(str(place), clock())
    assert said[0].startswith(f"metrics are not written: {place} has not responded since ")
    wait_until((place / NAME).exists, "the file is written")
    wait_until(lambda: not textfile.findings(clock()), "the finding is resolved")


def as_user(uid: int, task: Callable[[], None]) -> str:
    """What a task raises in a child that has become another user; "" where it raises nothing."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
        try:
            task()
        except Exception as error:  # noqa: BLE001 - it is what the parent asks for
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    return text


@pytest.mark.root
@pytest.mark.real
def test_textfile_in_the_directory_of_the_package() -> None:
    """Debian's directories of the exporter, as docs/monitoring.md opens them: the agent writes, a stranger does not."""
    try:
        reader = pwd.getpwnam("prometheus").pw_uid
    except KeyError:
        missing("user prometheus", INSTALL)
    base, agent, stranger = open_tmp(), 4_000_001, 4_000_002
    above, directory = base / "prometheus", base / "prometheus" / "node-exporter"
    directory.mkdir(parents=True)
    os.chown(above, reader, reader)
    above.chmod(0o755)
    os.chown(directory, 0, agent)
    directory.chmod(0o1775)
    write = partial(write_file, str(directory), NAME, "a 1\n")
    assert as_user(agent, write) == ""
    assert (directory / NAME).stat().st_uid == agent
    assert "PermissionError" in as_user(stranger, write)
    os.chown(above, stranger, stranger)
    assert f"HostError: {above} belongs to" in as_user(agent, write)
    shutil.rmtree(base)
