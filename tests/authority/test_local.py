"""The embedded CA: made once, whoever asks first and whenever it is killed."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certagent import x509
from certagent.authority.backends.local import LocalAuthority, span
from certagent.authority.errors import AuthorityError
from tests.making import make_ca, matched

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def local(path: Path, *, create: bool = True) -> LocalAuthority:
    return LocalAuthority(str(path / "ca"), create, DAY, 10 * DAY)


def trusted(ca: LocalAuthority) -> bytes:
    """What a trust bundle would get of it."""
    ca.ensure(NOW)
    return ca.roots()


def test_embedded_ca_concurrent_creation_makes_one(tmp_path: Path) -> None:
    """Sixteen certs directories that start together find one CA; none sees it half made."""
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


def test_embedded_ca_crash_between_renames_is_finished(tmp_path: Path) -> None:
    """The key is in place, its certificate is still staged: the next request installs it."""
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
def test_embedded_ca_half_present_is_never_overwritten(
    tmp_path: Path, label: str, lost: str, waiting: bytes | None, reason: str
) -> None:
    """One file is missing: an error that names it, and the other one stays as it is."""
    local(tmp_path).ensure(NOW)
    (tmp_path / "ca" / lost).unlink()
    if waiting:
        (tmp_path / "ca" / "ca.crt.new").write_bytes(waiting)
    before = {p.name: p.read_bytes() for p in (tmp_path / "ca").iterdir()}
    with pytest.raises(AuthorityError, match=reason):
        local(tmp_path).ensure(NOW)
    assert {p.name: p.read_bytes() for p in (tmp_path / "ca").iterdir()} == before, label


def test_embedded_ca_without_create_is_error(tmp_path: Path) -> None:
    """Without `create` an empty directory is an error with the remedy, and stays empty."""
    with pytest.raises(AuthorityError, match="set create = true"):
        local(tmp_path, create=False).ensure(NOW)
    assert not (tmp_path / "ca").exists()


def test_embedded_ca_key_and_certificate_match() -> None:
    """A certificate belongs to its own key; a damaged file matches nothing."""
    (cert, key), (_, other) = x509.make_ca("one", DAY, NOW), x509.make_ca("other", DAY, NOW)
    pairs = [(cert, key), (cert, other), (b"", key), (cert, b""), (key, cert)]
    assert [True, False, False, False, False] == [matched(*pair) for pair in pairs]


@pytest.mark.parametrize(("life", "early"), [(20, 1), (1199, 59.95), (1200, 60), (86400, 60)])
def test_embedded_ca_leaf_not_before_is_backdated(life: float, early: float) -> None:
    """It begins a minute ago, or 5 % of a short lifetime ago; it ends a full lifetime from now."""
    assert (NOW - timedelta(seconds=early), NOW + timedelta(seconds=life)) == span(NOW, timedelta(seconds=life))


def test_embedded_ca_key_readable_by_others_signs_nothing(tmp_path: Path) -> None:
    """An error with the remedy, until its mode is right again."""
    authority = local(tmp_path)
    authority.ensure(NOW)
    csr = x509.make_csr(x509.generate_key("ecdsa-p256"), "node", ("localhost",))
    (tmp_path / "ca" / "ca.key").chmod(0o640)
    with pytest.raises(AuthorityError, match="other users may read it; chmod 0600 /"):
        authority.issue(csr, NOW, server=True, client=True, lifetime=None)
    (tmp_path / "ca" / "ca.key").chmod(0o600)
    assert authority.issue(csr, NOW, server=True, client=True, lifetime=None)


@pytest.mark.usefixtures("usual_umask")
def test_embedded_ca_roots_follow_file(tmp_path: Path) -> None:
    """None before the file exists; parsed again when the file changes; a damaged file is an error."""
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


@pytest.mark.root
@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("planted", ["directory", "files", "certificate", "empty directory"])
def test_embedded_ca_of_another_user_is_not_trusted(tmp_path: Path, planted: str) -> None:
    """What another user put in the place of the CA is in no trust bundle, signs nothing and gets no key."""
    stranger = make_ca("a stranger's")
    (tmp_path / "ca").mkdir(mode=0o700)
    if planted != "empty directory":
        (tmp_path / "ca" / "ca.crt").write_bytes(stranger.cert)
    if planted in {"directory", "files"}:
        (tmp_path / "ca" / "ca.key").write_bytes(stranger.key)
        (tmp_path / "ca" / "ca.key").chmod(0o600)
    for path in (*(tmp_path / "ca").iterdir(), *([tmp_path / "ca"] if planted != "files" else [])):
        os.chown(path, 64001, 64001)
    names = sorted(os.listdir(tmp_path / "ca"))
    with pytest.raises(AuthorityError, match=r"cannot use the CA in .*chown root"):
        trusted(local(tmp_path))
    assert sorted(os.listdir(tmp_path / "ca")) == names
