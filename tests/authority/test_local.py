"""The embedded CA: made once, whoever asks first and whenever it is killed."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certagent import x509
from certagent.authority.backends.local import LocalAuthority, matching, span
from certagent.authority.errors import AuthorityError

NOW = datetime(2026, 1, 1, tzinfo=UTC)
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


def test_what_belongs_together() -> None:
    """A certificate is that of its own key; what is neither matches nothing."""
    (cert, key), (_, other) = x509.make_ca("one", DAY, NOW), x509.make_ca("other", DAY, NOW)
    pairs = [(cert, key), (cert, other), (b"", key), (cert, b""), (key, cert)]
    assert [True, False, False, False, False] == [matching(*pair) for pair in pairs]


@pytest.mark.parametrize(("life", "early"), [(20, 1), (1199, 59.95), (1200, 60), (86400, 60)])
def test_when_a_leaf_begins(life: float, early: float) -> None:
    """A minute ago, a twentieth of a short life ago; it ends a whole life from now."""
    assert (NOW - timedelta(seconds=early), NOW + timedelta(seconds=life)) == span(NOW, timedelta(seconds=life))


def test_a_key_that_others_may_read_signs_nothing(tmp_path: Path) -> None:
    """An error with the remedy, until its mode is right again."""
    authority = local(tmp_path)
    authority.ensure(NOW)
    csr = x509.make_csr(x509.generate_key("ecdsa-p256"), "node", ("localhost",))
    (tmp_path / "ca" / "ca.key").chmod(0o640)
    with pytest.raises(AuthorityError, match="other users may read it; chmod 0600 /"):
        authority.issue(csr, NOW, server=True, client=True, lifetime=None)
    (tmp_path / "ca" / "ca.key").chmod(0o600)
    assert authority.issue(csr, NOW, server=True, client=True, lifetime=None)


def test_the_roots_are_those_of_the_file(tmp_path: Path) -> None:
    """None before there is one; parsed anew when the file is another; what is no certificate is an error."""
    authority, cert = local(tmp_path), tmp_path / "ca" / "ca.crt"
    assert authority.known_roots() == ()
    authority.ensure(NOW)
    assert authority.known_roots() == x509.parse_certificates(cert.read_bytes())
    other = tmp_path / "other"
    other.write_bytes(x509.make_ca("other", DAY, NOW)[0])
    other.rename(cert)
    assert ["CN=other,O=Cockroach"] == [c.subject for c in authority.known_roots()]
    cert.unlink()
    cert.write_bytes(b"no PEM")
    with pytest.raises(AuthorityError, match=r"cannot use .*ca\.crt"):
        authority.known_roots()
