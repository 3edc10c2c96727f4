"""`python -m bench [NAME...] [--json]`: a table of ratios; progress goes to stderr."""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import acme, crowd, deciding, idle, many, observe, repair, rotation, status, worker
from bench.figures import table

ALL = {
    "acme": acme,
    "repair": repair,
    "rotation": rotation,
    "status": status,
    "idle": idle,
    "crowd": crowd,
    "decide": deciding,
    "many": many,
    "observe": observe,
    "worker": worker,
}


def main() -> None:
    """Measure, one after the other, each in a directory of its own."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one or more of {', '.join(ALL)} (default: all)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(ALL):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    figures, failed = [], []
    for name in arguments.names or ALL:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        try:
            with tempfile.TemporaryDirectory(prefix=f"certagent-bench-{name}-") as base:
                figures += ALL[name].measure(Path(base))
        except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
            failed.append(name)
            print(f"{name} failed: {error}", file=sys.stderr, flush=True)
    print(json.dumps([f.row() for f in figures], indent=2) if arguments.json else table(figures))
    if failed:
        raise SystemExit(1)


main()
