"""`python -m tests.public.renew` writes the golden files anew, for a change that is meant: git shows what changes."""

import sys
import tempfile
from pathlib import Path

from certagent.events.messages import rendered
from tests.public.pinning import outputs

GOLDEN = Path(__file__).parent / "golden"
CATALOGUE = Path(__file__).parents[2] / "systemd" / "certagent.catalog"


def main() -> None:
    """Write what is said today, and remove what nobody says any more."""
    with tempfile.TemporaryDirectory() as base:
        found = dict(outputs(Path(base)))
    GOLDEN.mkdir(exist_ok=True)
    for stale in {p.name for p in GOLDEN.iterdir()} - found.keys():
        (GOLDEN / stale).unlink()
    for name, text in found.items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
    CATALOGUE.write_text(rendered(), encoding="utf-8")
    print(f"{len(found)} golden files", file=sys.stderr)


if __name__ == "__main__":
    main()
