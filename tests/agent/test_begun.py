"""Since when a running agent goes by the settings of each directory: from then on what they change is spread."""

import io
import os
import pwd
from dataclasses import replace
from pathlib import Path

import pytest

from certagent.agent.start import put_together
from certagent.config import Config, load
from certagent.core.spread import begun
from certagent.events import Log
from certagent.posix.clock import clock
from certagent.state.directory import StateDirectory
from tests.core.building import NOW
from tests.waiting import wait_until

HEAD = '[agent]\nstate_dir = "{base}/state"\nsocket = "{base}/control.sock"\n[authority.other]\ntype = "none"\n'
EACH = '[[certs_dir]]\npath = "{base}/{name}"\nowner = "{me}"\nauthority = "other"\nnames = ["{names}"]\n'


def configured(base: Path, **names: str) -> Config:
    """A configuration with a directory of each name."""
    me, file = pwd.getpwuid(os.getuid()).pw_name, base / "config.toml"
    tables = [EACH.format(base=base, name=name, me=me, names=sans) for name, sans in names.items()]
    file.write_text(HEAD.format(base=base) + "".join(tables))
    return load(str(file))


@pytest.mark.parametrize("resident", [True, False])
def test_agent_that_reads_its_configuration_again_counts_changed_directories_anew(
    tmp_path: Path, resident: bool
) -> None:
    """Only a directory whose settings changed, or that is new; `run --once` counts nothing."""
    for name in ("same", "changed", "new"):
        (tmp_path / name).mkdir(mode=0o700)
    config = configured(tmp_path, same="db1", changed="db1")
    if resident:
        config = replace(config, policies=begun(config.policies, (), NOW))
    state = StateDirectory(str(tmp_path / "state"))
    state.open()
    agent = put_together(
        config, str(tmp_path / "config.toml"), state.ledger, Log(io.StringIO(), "json", clock), lambda _: None
    )
    try:
        agent.service.take_locks()
        agent.service.go()
        agent.service.wait_until_looked(120)
        fresh = configured(tmp_path, same="db1", changed="db2", new="db3")
        agent.service.reload(fresh)
        worlds = {Path(path).name: world for path, world in agent.directories.worlds.items()}
        wait_until(lambda: all(w.policy in fresh.policies for w in worlds.values()), "each goes by its new policy")
        since = {name: world.policy.since for name, world in worlds.items()}
        assert since["same"] == (NOW if resident else None)
        for name in ("changed", "new"):
            assert (since[name] not in {None, NOW}) == resident
    finally:
        assert agent.service.stop()
        agent.events.stop()
        state.ledger.close()
