"""What operators read, and what their programs read, is what the golden files hold."""

import difflib
from datetime import timedelta
from pathlib import Path

import pytest

from tests.public.making import DAY, Workshop, this_minute
from tests.public.pinning import moment, named, outputs
from tests.public.renew import GOLDEN

RENEW = "python -m tests.public.renew writes the golden files anew, for a change that is meant"
HELD = sorted(p.name for p in GOLDEN.iterdir())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Everything that is said today, by the name of its golden file."""
    return dict(outputs(tmp_path_factory.mktemp("public")))


def test_golden_file_exists_for_each_output(found: dict[str, str]) -> None:
    """A new verb has a golden file from its first day, and no golden file is left of a removed one."""
    assert sorted(found) == HELD, RENEW


@pytest.mark.parametrize("name", HELD)
def test_golden_file_matches_output(name: str, found: dict[str, str]) -> None:
    """Help, explanations and documents are unchanged."""
    held, said = (GOLDEN / name).read_text(encoding="utf-8"), found.get(name, "")
    lines = difflib.unified_diff(held.splitlines(), said.splitlines(), f"golden/{name}", "said now", lineterm="")
    if different := "\n".join(lines):
        pytest.fail(f"{different}\n{RENEW}", pytrace=False)


@pytest.mark.parametrize(
    ("distance", "name"),
    [
        (timedelta(0), "NOW"),
        (timedelta(seconds=90), "NOW"),
        (90 * DAY, "NOW+90d"),
        (-DAY / 2, "NOW-0.5d"),
        (timedelta(minutes=7), "NOW+0.0417d~"),
        (49.9 * DAY, "NOW+50d~"),
        (44.1 * DAY, "NOW+50d~"),
        (-10.1 * DAY, "NOW-10d~"),
    ],
)
def test_golden_jitter_span_has_one_name(distance: timedelta, name: str) -> None:
    """The whole span of one jitter has one name."""
    assert name == moment(distance)


def test_golden_varying_values_are_named(tmp_path: Path) -> None:
    """Paths, moments to the second and to the minute, durations and fingerprints."""
    shop = Workshop(now=this_minute())
    shop.known["ab" * 32] = "node"
    end = shop.now + 90 * DAY
    said = (
        f"{tmp_path}/x {end:%Y-%m-%dT%H:%M:%S.000Z} {end:%Y-%m-%d %H:%M} UTC 89 days, 23:59:58.5 {'ab' * 6} {'cd' * 6}"
    )
    assert named(said, shop, str(tmp_path)) == "DIR/x NOW+90d NOW+90d 2160h <node> <12 hex digits>"
