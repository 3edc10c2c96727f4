"""Why a directory cannot be used: the user, the part of the path, the exact remedy."""

import errno
import os
from dataclasses import asdict
from pathlib import Path

import pytest

from certagent.certs_dir.access import Denied, denied
from certagent.posix.as_user import apart
from certagent.sandbox.user import unprivileged
from tests.making import open_way


def opened(tmp_path: Path) -> Path:
    """A path that everybody may walk, as far as the tests' own directories go."""
    open_way(tmp_path)
    certs = tmp_path / "part" / "certs"
    certs.mkdir(parents=True)
    for made in (certs.parent, certs):
        made.chmod(0o755)
    return certs


def as_other(user: tuple[int, int], certs: Path, *, write: bool = False) -> Denied:
    return Denied(**apart(user, lambda: asdict(denied(str(certs), errno.EACCES, write=write))))


@pytest.mark.root
def test_access_denied_names_the_path_component(tmp_path: Path) -> None:
    """The user, the exact component, its owner and mode; the remedy is chown of the directory, chmod above it."""
    certs, who = opened(tmp_path), unprivileged()
    certs.parent.chmod(0o700)
    found = as_other(who, certs)
    assert found.cause == f"nobody may not enter {certs.parent} (owner root, mode 0700)"
    assert found.advice == f"chmod o+x {certs.parent}"
    certs.parent.chmod(0o755)
    certs.chmod(0o700)
    assert as_other(who, certs).advice == f"chown nobody {certs}"
    os.chown(certs, *who)
    for mode, advice in ((0o600, f"chmod u+x {certs}"), (0o100, f"chmod u+r {certs}")):
        certs.chmod(mode)
        assert as_other(who, certs).advice == advice


@pytest.mark.root
def test_access_read_only_directory_denies_changes(tmp_path: Path) -> None:
    """It can be judged; only changes are denied. Allowed access has no cause."""
    certs = opened(tmp_path)
    assert as_other(unprivileged(), certs) == Denied()
    found = as_other(unprivileged(), certs, write=True)
    assert found == Denied(
        cause=f"nobody may not write {certs} (owner root, mode 0755)", advice=f"chown nobody {certs}"
    )


def test_access_read_only_file_system_names_unit_settings() -> None:
    """What the unit needs: the parent, because a directory may be replaced; below /home ProtectHome= too."""
    assert denied("/srv/cockroach/certs", errno.EROFS).advice.startswith(
        "set ReadWritePaths=/srv/cockroach in a drop-in"
    )
    home = denied("/home/me/certs", errno.EROFS).advice
    assert home.startswith("set ProtectHome=false and ReadWritePaths=/home/me/certs in a drop-in")


def test_access_other_error_is_the_kernels(tmp_path: Path) -> None:
    """Only the kernel's error is known."""
    assert denied(str(tmp_path), errno.EIO) == denied(str(tmp_path / "gone"), errno.EACCES) == Denied()
