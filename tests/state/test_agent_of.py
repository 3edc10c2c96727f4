"""Whose agent a state directory belongs to."""

import os
from pathlib import Path

import pytest

from certagent.state.ownership import LEDGER, agent_of, agent_there

pytestmark = pytest.mark.root
ONE, OTHER = 64001, 64002


@pytest.mark.parametrize(("directory", "ledger", "expected"), [
    (ONE, ONE, ONE),
    (ONE, OTHER, ONE),  # another user cannot make itself the agent by a ledger that it plants
    (ONE, None, ONE),
    (0, ONE, ONE),
    (0, None, 0),
])  # fmt: skip
def test_agent_owns_its_state_directory(tmp_path: Path, directory: int, ledger: int | None, expected: int) -> None:
    """The owner of the directory, and in a directory of root's the owner of the ledger."""
    if ledger is not None:
        (tmp_path / LEDGER).touch()
        os.chown(tmp_path / LEDGER, ledger, ledger)
    os.chown(tmp_path, directory, directory)
    assert agent_of(str(tmp_path)) == expected


def test_agent_of_ledger_that_is_a_link_is_not_its_target(tmp_path: Path) -> None:
    """A link in a directory of root's counts as itself."""
    os.symlink("/etc/passwd", tmp_path / LEDGER)
    os.lchown(tmp_path / LEDGER, ONE, ONE)
    assert agent_of(str(tmp_path)) == ONE


def test_agent_that_never_ran_has_no_user(tmp_path: Path) -> None:
    """Without a state directory nobody is taken for it."""
    assert agent_there(str(tmp_path / "none")) is None
    assert agent_there(str(tmp_path)) == tmp_path.stat().st_uid
