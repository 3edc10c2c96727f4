"""`config check` looks at each file that a valid configuration names: it exists, and the agent's user may use it."""

import os
import pwd
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from certagent.config import build, document_of
from certagent.operations.incomplete import missing
from tests.making import make_ca
from tests.system.running import open_tmp

pytestmark = pytest.mark.usefixtures("usual_umask")


def said(base: Path, text: str, agent: int | None = None) -> list[str]:
    """What the host lacks of a configuration; the state directory is the agent's."""
    state, file = base / "state", base / "config.toml"
    state.mkdir(exist_ok=True)
    if agent is not None:
        os.chown(state, agent, -1)
    head = f"[agent]\nstate_dir = '{state}'\nsocket = '{state}/s'\n"
    file.write_text(f"{head}[[certs_dir]]\npath = '{base}/certs'\nowner = 'root'\nauthority = 'a'\n{text}")
    return list(missing(build(str(file), document_of(str(file), file.read_bytes()), "db1"), {}, datetime.now(UTC)))


def embedded(base: Path) -> Path:
    """A CA with its key."""
    made, place = make_ca(), base / "ca"
    place.mkdir()
    (place / "ca.crt").write_bytes(made.cert)
    (place / "ca.key").write_bytes(made.key)
    return place


LOCAL = "[authority.a]\ntype = 'local'\ndirectory = '{}'\n"


def test_embedded_ca_without_key_is_said(tmp_path: Path) -> None:
    """Its certificate alone issues nothing."""
    place = embedded(tmp_path)
    assert said(tmp_path, LOCAL.format(place)) == []
    (place / "ca.key").unlink()
    assert said(tmp_path, LOCAL.format(place)) == [f"authority.a.directory: {place}/ca.key does not exist"]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that other users may enter."""
    base = open_tmp()
    yield base
    shutil.rmtree(base)


@pytest.mark.root
def test_file_that_the_agents_user_may_not_read_is_said(shared: Path) -> None:
    """Root checks the configuration of an agent that runs as another user: the key is root's alone."""
    place, token = embedded(shared), shared / "token"
    token.write_text("secret")
    for file in (place / "ca.key", token):
        file.chmod(0o600)
    assert said(shared, LOCAL.format(place)) == []
    nobody = pwd.getpwnam("nobody").pw_uid
    told = said(shared, LOCAL.format(place), nobody)
    assert f"authority.a.directory: nobody, as whom the agent runs, may not read {place}/ca.key" in told
    remote = f"[authority.a]\ntype = 'vault'\nurl = 'https://ca.example.com'\ntoken = '{token}'\nrole = 'r'\n"
    told = said(shared, remote, nobody)
    assert f"authority.a.token: nobody, as whom the agent runs, may not read {token}" in told


@pytest.mark.root
def test_directory_that_the_agents_user_cannot_reach_is_said(shared: Path) -> None:
    """A parent of the certs directory, here behind a link, is root's alone: the sentence has the command for it."""
    closed, user = shared / "closed", pwd.getpwnam("nobody")
    (closed / "certs").mkdir(parents=True)
    os.chown(closed / "certs", user.pw_uid, -1)
    (shared / "certs").symlink_to(closed / "certs")
    text = LOCAL.format(embedded(shared))

    def told() -> list[str]:
        return [each for each in said(shared, text, user.pw_uid) if each.startswith("certs_dir[0].path")]

    assert told() == []
    closed.chmod(0o700)
    why = f"nobody may not enter {closed} (owner root, mode 0700); chmod o+x {closed}"
    assert told() == [f"certs_dir[0].path: the agent cannot use {shared}/certs: {why}"]


def test_embedded_ca_outside_the_bundle_is_said(tmp_path: Path) -> None:
    """Nothing that it issues would be installed: the sentence has the command that adds its root."""
    place, certs, other = embedded(tmp_path), tmp_path / "certs", make_ca("another CA")
    certs.mkdir()
    (certs / "ca.crt").write_bytes(other.cert)
    (told,) = [each for each in said(tmp_path, LOCAL.format(place)) if "root of authority" in each]
    assert told.startswith(f"certs_dir[0].authority: {certs}/ca.crt does not contain the root of authority 'a'")
    assert told.endswith(f"certagent bundle add {place}/ca.crt, on every node")
    (certs / "ca.crt").write_bytes(other.cert + (place / "ca.crt").read_bytes())
    assert [each for each in said(tmp_path, LOCAL.format(place)) if "root of authority" in each] == []


@pytest.mark.parametrize(("kind", "key"), [("command", "command"), ("dropbox", "inbox")])
def test_program_or_directory_that_does_not_exist_is_said(tmp_path: Path, kind: str, key: str) -> None:
    """A program and an inbox are files that the configuration names, too."""
    inbox = f"outbox = '{tmp_path}'\ninbox = '/nowhere/in'\n"
    text = "command = ['/nowhere/sign']\n" if kind == "command" else inbox
    [told] = [each for each in said(tmp_path, f"[authority.a]\ntype = '{kind}'\n{text}") if ".a." in each]
    assert told.startswith(f"authority.a.{key}: /nowhere/")
    assert told.endswith("does not exist")
