"""The configuration is read aside: what was read last counts, and a SIGHUP reads it though nothing changed."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from certagent.agent.config_file import Reloading
from certagent.config import ConfigError
from tests.waiting import wait_until

NOW = datetime(2026, 11, 25, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that is no configuration yet."""
    made = tmp_path / "config.toml"
    made.write_text("")
    return made


def read(reloading: Reloading) -> None:
    wait_until(lambda: reloading.reading.since is None, "it was read")


def test_configuration_newest_reading_counts(file: Path) -> None:
    """Two readings wake the loop once, and the older one wakes it no more."""
    reloading = Reloading(str(file), lambda _: None)
    for text in ("first = 1\n", "second = 12\n"):
        file.write_text(text)
        reloading.look(NOW)
        read(reloading)
    found = reloading.fresh()
    assert isinstance(found, ConfigError)
    assert any("second" in e for e in found.errors)
    assert not any("first" in e for e in found.errors)
    assert reloading.fresh() is None


def test_configuration_unchanged_is_read_on_sighup_only(file: Path) -> None:
    """A check of an unchanged file reads nothing, a SIGHUP does."""
    reloading = Reloading(str(file), lambda _: None)
    reloading.look(NOW)
    read(reloading)
    assert reloading.fresh() is None
    reloading.force(NOW)
    read(reloading)
    assert isinstance(reloading.fresh(), ConfigError)


def test_configuration_after_chmod_is_read_again(file: Path) -> None:
    """A file that could not be read is read once it may be: a chmod changes the ctime, and not the mtime."""
    reloading = Reloading(str(file), lambda _: None)
    file.chmod(0o640)
    reloading.look(NOW)
    read(reloading)
    assert isinstance(reloading.fresh(), ConfigError)
