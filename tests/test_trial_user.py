"""`authority test` by another user than the agent's: who may do it, and the whole command."""

import os
import pwd
from pathlib import Path

import pytest

from certagent.cli import main
from certagent.cli.authority import by_ourselves
from certagent.config import load
from certagent.operations.acme_account import another_user, before_the_first_start
from certagent.operations.systemd import user_reading
from certagent.posix.owner import exists, uids_of

TOML = """
[agent]
state_dir = "{base}/state"
socket = "{base}/socket"
[authority.house]
type = "local"
directory = "{base}/ca"
create = true
[[certs_dir]]
path = "{base}/certs"
owner = "root"
authority = "house"
names = ["localhost"]
"""


@pytest.mark.parametrize(
    ("running", "root", "told"),
    [
        ("", True, "start the agent, or run this as crdb: runuser -u crdb -- certagent x"),
        ("", False, "start the agent, or run this as crdb: sudo -u crdb certagent x"),
        ("/etc/c.toml", True, "whose agent runs with /etc/c.toml; run this as crdb: runuser -u crdb -- certagent x"),
        ("/etc/c.toml", False, "whose agent runs with /etc/c.toml; run this as crdb: sudo -u crdb certagent x"),
    ],
)
def test_state_of_another_user_names_the_command(running: str, told: str, *, root: bool) -> None:
    """An agent that runs need not be started; the command can be typed as it stands."""
    assert another_user("/state", "crdb", "certagent x", running, root=root).endswith(told)
    assert another_user("/state", "crdb", "", running, root=root).endswith("run this as crdb")


@pytest.mark.parametrize(
    ("user", "me", "root", "told"),
    [
        ("", "root", True, ""),  # no unit is known to read the configuration
        ("crdb", "crdb", False, ""),
        ("root", "root", True, ""),
        (
            "crdb",
            "root",
            True,
            "cannot ask as root: the agent runs as crdb; start the agent, or run this as crdb: runuser -u crdb -- x t",
        ),
        (
            "crdb",
            "ann",
            False,
            "cannot ask as ann: the agent runs as crdb; start the agent, or run this as crdb: sudo -u crdb x t",
        ),
    ],
)
def test_trial_before_the_first_start_is_for_the_user_of_the_unit(user: str, me: str, told: str, *, root: bool) -> None:
    """A key that belongs to the agent's user is right as it is: nobody is told to give it to root."""
    assert before_the_first_start(user, me, "x t", root=root) == told


def test_users_of_this_host_by_name() -> None:
    """One that does not exist has no number; systemd takes a number without an account, too."""
    assert uids_of("root", "no-such-user", "") == [0]
    assert [exists(user) for user in ("root", "4711", "no-such-user")] == [True, True, False]


def test_unit_of_a_file_elsewhere_is_not_known() -> None:
    """Only where the shipped units look for their configuration does the place say which one reads it."""
    assert user_reading("/tmp/config.toml") == ""


@pytest.mark.root
def test_trial_by_root_beside_the_agent_of_another_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """64, and the command as the agent's user, who alone may use the state of its authorities."""
    file = tmp_path / "other name.toml"
    file.write_text(TOML.format(base=tmp_path))
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", pwd.getpwnam("nobody").pw_uid, -1)
    assert main(["authority", "test", "house", "-c", str(file)]) == 64
    command = f"runuser -u nobody -- certagent authority test house -c '{file}'"
    assert capsys.readouterr().err.endswith(f"belongs to nobody; start the agent, or run this as nobody: {command}\n")
    answer = by_ourselves(load(str(file)), "certagent x", "/etc/certagent/config.toml", name="house", certs_dir="")
    assert answer["code"] == "refused"
    assert "whose agent runs with /etc/certagent/config.toml; run this as nobody: runuser" in answer["error"]
