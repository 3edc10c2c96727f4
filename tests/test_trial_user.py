"""`authority test` by another user than the agent's: who may do it, and the whole command."""

import os
import pwd
from pathlib import Path

import pytest

from certagent.cli import main
from certagent.cli.authority import by_ourselves
from certagent.config import load
from certagent.operations.acme_account import another_user

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
