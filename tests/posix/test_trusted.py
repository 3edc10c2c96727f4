"""The one walk of a path that is trusted: who could have put something else on the way."""

import os
import stat
from pathlib import Path

import pytest

from certagent.agent.config_file import load_trusted
from certagent.authority.client.secrets import read_file, read_secret
from certagent.config import ConfigError
from certagent.posix.errors import HostError
from certagent.posix.openat import Component
from certagent.posix.trusted import distrust, flaw, followed, shared

OWN, OTHER = 999, 1234
DIR, FILE, LINK = stat.S_IFDIR, stat.S_IFREG, stat.S_IFLNK
TOP = Component(path="/", uid=0, gid=0, mode=DIR | 0o755)

WAYS = [
    ("root's directory and file", 0, 0, DIR | 0o755, False, ""),
    ("our own", OWN, OWN, DIR | 0o700, False, ""),
    ("another user's", OTHER, 0, DIR | 0o755, False, "/a belongs to 1234, who could change it; chown root /a"),
    ("another user's link", OTHER, 0, LINK | 0o777, False, "/a belongs to 1234"),
    ("root's link", 0, 0, LINK | 0o777, False, ""),
    ("writable by everybody", 0, 0, FILE | 0o666, False, "everybody may write /a; chmod go-w /a"),
    ("writable by its group", 0, 50, FILE | 0o664, False, "its group may write /a"),
    ("writable by root's group", 0, 0, FILE | 0o664, False, ""),
    ("a sticky directory", 0, 0, DIR | 0o1777, False, ""),
    ("a sticky file", 0, 0, FILE | 0o1666, False, "everybody may write /a"),
    ("another user's sticky directory", OTHER, 0, DIR | 0o1777, False, "/a belongs to 1234"),
    ("mounted read-only", 0, 0, DIR | 0o777, True, ""),
    ("another user's, mounted read-only", OTHER, 0, DIR | 0o777, True, "/a belongs to 1234"),
    ("a device that everybody may write", 0, 0, stat.S_IFCHR | 0o666, False, "everybody may write /a"),
]


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "fixed", "told"), [row[1:] for row in WAYS], ids=[row[0] for row in WAYS]
)
def test_path_component_is_trusted_by_owner_and_mode(uid: int, gid: int, mode: int, fixed: bool, told: str) -> None:
    """Each component belongs to root or to the agent's user, and nobody else may write it."""
    found = str(flaw([TOP, Component(path="/a", uid=uid, gid=gid, mode=mode, fixed=fixed)], frozenset({0, OWN})) or "")
    assert (found == "") == (told == "")
    assert told in found


def test_path_first_bad_component_is_named() -> None:
    """The remedy is for the component nearest to the root, and quotes its name."""
    bad = [Component(path=p, uid=OTHER, gid=0, mode=DIR | 0o755) for p in ("/a b", "/a b/c")]
    assert str(flaw([TOP, *bad], frozenset({0}))).endswith("chown root '/a b'")


CERTS = {
    "root's alone": (0, 0, 0o700, False, ""),
    "root's, for a group to read": (0, 50, 0o750, False, ""),
    "root's own group may write": (0, 0, 0o770, False, ""),
    "the owner's": (OWN, 0, 0o700, False, f"/a/certs belongs to {OWN}"),
    "its group may write": (0, 50, 0o770, False, "its group may write /a/certs"),
    "a list of further users": (0, 0, 0o770, True, "an access control list of /a/certs lets others write it"),
    "sticky": (0, 0, 0o1777, False, "everybody may write /a/certs"),
}


@pytest.mark.parametrize(("uid", "gid", "mode", "listed", "told"), CERTS.values(), ids=CERTS)
def test_directory_is_roots_alone_by_owner_and_mode(uid: int, gid: int, mode: int, listed: bool, told: str) -> None:
    """Nobody else may put anything into it; a sticky directory above it is no way in, the directory itself is."""
    way = (TOP, Component(path="/a", uid=0, gid=0, mode=DIR | 0o1777))
    found = shared((*way, Component(path="/a/certs", uid=uid, gid=gid, mode=DIR | mode, listed=listed)))
    assert (found.clause if found else "").startswith(told)
    assert bool(found) == bool(told)


def test_path_components_follow_links(tmp_path: Path) -> None:
    """Each link is a component, and so is all that it leads through; dots lead nowhere new."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").write_text("x")
    (tmp_path / "way").symlink_to("real")
    (tmp_path / "far").symlink_to(tmp_path / "way" / "." / ".." / "real")
    end = followed(f"{tmp_path}/far/file")
    os.close(end.fd)
    found = [c.path for c in end.way]
    assert [p for p in found if p.startswith(f"{tmp_path}/")] == [
        f"{tmp_path}/{name}" for name in ("far", "way", "real", "real", "real/file")
    ]
    assert found[0] == "/"


@pytest.mark.parametrize("name", ["missing", "loop"])
def test_path_that_leads_nowhere_is_error(tmp_path: Path, name: str) -> None:
    """A component that is missing, and a circle of links, raise OSError."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match=name):
        distrust(str(tmp_path / name))


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.root
def test_path_link_of_another_user_is_distrusted(tmp_path: Path) -> None:
    """A password that another user has linked to a file of root's is not read."""
    (tmp_path / "key").write_text("secret")
    link = tmp_path / "password"
    link.symlink_to(tmp_path / "key")
    os.lchown(link, OTHER, OTHER)
    with pytest.raises(HostError, match=f"cannot use authority.house.password: {link} belongs to"):
        read_secret("authority.house.password", str(link), {})
    assert distrust(str(link), (OTHER,)) == ""


def test_secret_that_everybody_may_write_is_not_used(tmp_path: Path) -> None:
    """Neither a token nor roots that others could have exchanged."""
    file = tmp_path / "token"
    file.write_text("x")
    file.chmod(0o666)
    for read in (lambda: read_file("tls_roots", str(file)), lambda: read_secret("token", str(file), {})):
        with pytest.raises(HostError, match=f"everybody may write {file}"):
            read()


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.parametrize("kind", ["PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"])
def test_secret_is_no_private_key(tmp_path: Path, kind: str) -> None:
    """A token is sent to the CA: a file with a private key in it is refused, and not quoted."""
    file = tmp_path / "token"
    file.write_text(f"-----BEGIN {kind}-----\nMIGHAgEA\n-----END {kind}-----\n")
    for source, environ in ((str(file), {}), ("credential:token", {"CREDENTIALS_DIRECTORY": str(tmp_path)})):
        with pytest.raises(HostError, match="contains a private key, which would be sent to the CA") as refused:
            read_secret("authority.house.token", source, environ)
        assert "MIGH" not in str(refused.value)


CONFIG = """
[agent]
state_dir = "{base}/state"
[[certs_dir]]
path = "{base}/certs"
owner = "root"
authority = "none"
[authority.none]
type = "none"
"""


@pytest.mark.parametrize(("mode", "used"), [(0o600, True), (0o644, True), (0o666, False), (0o662, False)])
def test_configuration_that_others_may_write_is_refused(tmp_path: Path, mode: int, used: bool) -> None:
    """What the agent acts by is root's or its own user's alone; the error names the file and the remedy."""
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(base=tmp_path))
    file.chmod(mode)
    if used:
        assert load_trusted(str(file)).settings.state_dir == f"{tmp_path}/state"
        return
    with pytest.raises(ConfigError, match=f"not used: everybody may write {file}; chmod go-w"):
        load_trusted(str(file))


@pytest.mark.usefixtures("usual_umask")
@pytest.mark.root
def test_configuration_of_agents_user_is_trusted_by_root(tmp_path: Path) -> None:
    """`config check` as root judges for the agent's user, who owns the state directory; root does not act by it."""
    file = tmp_path / "config.toml"
    file.write_text(CONFIG.format(base=tmp_path))
    os.chown(file, OTHER, OTHER)
    with pytest.raises(ConfigError, match="belongs to"):
        load_trusted(str(file), checking=True)
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", OTHER, OTHER)
    assert load_trusted(str(file), checking=True).policies
    with pytest.raises(ConfigError, match="belongs to"):
        load_trusted(str(file))
