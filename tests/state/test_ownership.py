"""State that another user made is refused, with the remedy."""

import os
from pathlib import Path

import pytest

from certagent.posix.errors import HostError
from certagent.state.ownership import foreign, foreign_directory, kept_by_agent, refuse_foreign

OWN, OTHER, ROOT = 1001, 1002, 0
FOREIGN = "made it, and this agent runs as"


@pytest.mark.parametrize(
    ("uid", "own", "used"), [(OWN, OWN, True), (ROOT, OWN, True), (OTHER, OWN, False), (OWN, ROOT, False)]
)
def test_state_directory_of_another_user_is_refused(uid: int, own: int, used: bool) -> None:
    """The state directory belongs to the agent's user or to root."""
    assert (foreign_directory("/state", uid, own) is None) == used


@pytest.mark.parametrize(
    ("uid", "own", "used"), [(OWN, OWN, True), (ROOT, OWN, False), (OTHER, OWN, False), (OWN, ROOT, False)]
)
def test_ledger_of_another_user_is_refused(uid: int, own: int, used: bool) -> None:
    """A ledger belongs to the agent's user alone: root's would be one that this agent did not make."""
    told = foreign([("/state/lock", own), ("/state/ledger.db", uid)], own)
    assert (told is None) == used
    assert told is None or (FOREIGN in told and "mv /state/ledger.db{,.foreign}" in told)


def test_remedy_quotes_the_path() -> None:
    """A name that a shell would take apart is quoted."""
    assert "mv '/a b/ledger.db'{,.foreign}" in str(foreign([("/a b/ledger.db", OTHER)], OWN))


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("ledger.db", True),
        ("ledger.db-wal", True),
        ("lock", True),
        ("authority", True),
        ("ca", False),
        ("notes", False),
    ],
)
def test_state_directory_names_of_the_agent(name: str, *, kept: bool) -> None:
    """The ledger with its companions, the lock and the authorities' states; an embedded CA judges itself."""
    assert kept_by_agent(name) is kept


@pytest.mark.root
@pytest.mark.parametrize("planted", ["ledger.db", "ledger.db-wal", "lock", "authority", "authority/house.json"])
def test_planted_state_is_refused(tmp_path: Path, planted: str) -> None:
    """Whatever another user put where the agent keeps its own is named; what the agent made is used."""
    (tmp_path / "authority").mkdir()
    for name in ("ledger.db", "lock", "authority/house.json", planted):
        if not (tmp_path / name).exists():
            (tmp_path / name).write_text("")
    refuse_foreign(str(tmp_path))
    os.chown(tmp_path / planted, OTHER, OTHER)
    with pytest.raises(HostError, match=FOREIGN) as refused:
        refuse_foreign(str(tmp_path))
    assert str(tmp_path / planted) in str(refused.value)


@pytest.mark.root
def test_what_others_keep_in_state_directory_is_left_alone(tmp_path: Path) -> None:
    """A file of somebody else's that the agent never reads stops nothing."""
    (tmp_path / "notes").write_text("")
    os.chown(tmp_path / "notes", OTHER, OTHER)
    refuse_foreign(str(tmp_path))
