"""A directory where a file is expected is an error each time, and no descriptor of it stays open."""

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from certagent.authority.backends import dropbox
from certagent.authority.backends.local import LocalAuthority
from certagent.authority.client.secrets import read_file
from certagent.authority.errors import AuthorityError
from certagent.core.policy import ProcessRule
from certagent.posix.errors import HostError
from certagent.process import find
from certagent.state.authority_state import AuthorityState
from tests.core.building import DAY, OWNER


def inbox(path: Path) -> None:
    fd = os.open(path.parent, os.O_RDONLY)
    try:
        [(_, found)] = dropbox._files(fd, [path.name])
        assert isinstance(found, str)
    finally:
        os.close(fd)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "secret": ("token", lambda path: read_file("token", str(path))),
    "authority's state": ("house.json", lambda path: AuthorityState(str(path.parent)).read("house", "")),
    "embedded CA": (
        "ca.crt",
        lambda path: LocalAuthority(str(path.parent), create=False, lifetime=DAY, ca_lifetime=DAY).roots(),
    ),
    "inbox": ("node.crt", inbox),
    "pid file": ("pid", lambda path: find(0, 0, ProcessRule(pid_file=str(path)), OWNER)),
}


@pytest.mark.parametrize(("name", "read"), READERS.values(), ids=READERS)
def test_directory_in_place_of_file_leaks_no_descriptor(
    tmp_path: Path, name: str, read: Callable[[Path], object]
) -> None:
    """The readers of configuration, state, CAs and pid files close what they cannot read."""
    (tmp_path / name).mkdir()
    before = os.listdir("/proc/self/fd")
    with suppress(HostError, AuthorityError, OSError):
        read(tmp_path / name)
    assert os.listdir("/proc/self/fd") == before
