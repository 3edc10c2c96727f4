"""The embedded CA: made once, whoever asks first and whenever it is killed."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certagent.authority.errors import AuthorityError
from certagent.authority.local import LocalAuthority
from certagent.host import x509

NOW = datetime.now(UTC)
DAY = timedelta(days=1)


def local(path: Path, *, create: bool = True) -> LocalAuthority:
    return LocalAuthority(str(path / "ca"), create, DAY, 10 * DAY)


def test_many_ask_at_once(tmp_path: Path) -> None:
    """Sixteen certs-dirs that begin together find one CA; none sees it half made."""
    found: list[bytes | AuthorityError] = []
    begin = threading.Barrier(16)

    def ask() -> None:
        begin.wait()
        try:
            authority = local(tmp_path)
            authority.ensure(NOW)
            found.append(authority.roots())
        except AuthorityError as error:
            found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [local(tmp_path).roots()] * 16
    assert os.stat(tmp_path / "ca" / "ca.key").st_mode & 0o777 == 0o600


def test_a_crash_between_the_renames_is_finished(tmp_path: Path) -> None:
    """The key is in place, its certificate waits beside it: the next to ask puts it in."""
    local(tmp_path).ensure(NOW)
    cert = tmp_path / "ca" / "ca.crt"
    made = cert.read_bytes()
    cert.rename(tmp_path / "ca" / "ca.crt.new")
    local(tmp_path).ensure(NOW)
    assert cert.read_bytes() == made


LACKS = [
    ("a lost certificate", "ca.crt", None, "ca.crt is missing; restore it"),
    ("a lost key", "ca.key", None, "ca.key is missing; restore it"),
    ("another's certificate waits", "ca.crt", x509.make_ca("other", DAY, NOW)[0], "ca.crt is missing; restore it"),
]


@pytest.mark.parametrize(("label", "lost", "waiting", "reason"), LACKS, ids=[r[0] for r in LACKS])
def test_a_ca_is_never_made_over_a_part_of_one(
    tmp_path: Path, label: str, lost: str, waiting: bytes | None, reason: str
) -> None:
    """One half is missing: an error that names it, and what is there stays as it is."""
    local(tmp_path).ensure(NOW)
    (tmp_path / "ca" / lost).unlink()
    if waiting:
        (tmp_path / "ca" / "ca.crt.new").write_bytes(waiting)
    before = {p.name: p.read_bytes() for p in (tmp_path / "ca").iterdir()}
    with pytest.raises(AuthorityError, match=reason):
        local(tmp_path).ensure(NOW)
    assert {p.name: p.read_bytes() for p in (tmp_path / "ca").iterdir()} == before, label


def test_none_is_made_unasked(tmp_path: Path) -> None:
    """Without `create` an empty directory is an error with the remedy, and stays empty."""
    with pytest.raises(AuthorityError, match="set create = true"):
        local(tmp_path, create=False).ensure(NOW)
    assert not (tmp_path / "ca").exists()
