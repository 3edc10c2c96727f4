"""docs/metrics.md is held to the code; a change of a metric is a change of the page."""

from pathlib import Path

from certagent.core.metrics import FAMILIES

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "metrics.md"


def test_docs_have_every_metric() -> None:
    """The table is the code's own: each metric with its labels and meaning, in the same order, and no other."""
    rows = [f"| `{f.name}` | {', '.join(f'`{label}`' for label in f.labels)} | {f.means} |" for f in FAMILIES]
    assert rows == [line for line in PAGE.read_text().splitlines() if line.startswith("| `certagent_")]
