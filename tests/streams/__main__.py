"""Print a table: python -m tests.streams [--json] [--seed N] [--postgres] [SCENARIO ...]."""

import argparse
import json
import random
from dataclasses import asdict

from tests.streams.host import Member
from tests.streams.postgres import PostgresMember
from tests.streams.rows import ROWS
from tests.streams.table import ran
from tests.streams.troubles import ROTATIONS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.streams")
    parser.add_argument("scenarios", nargs="*", choices=[[], *(row.name for row in (*ROWS, *ROTATIONS))])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--postgres", action="store_true", help="the servers are PostgreSQL")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 1 << 32))
    asked = parser.parse_args()
    chosen = [row for row in (*ROWS, *ROTATIONS) if row.name in asked.scenarios] or ROWS
    for row in chosen:
        found = ran(row, asked.seed, PostgresMember if asked.postgres else Member)
        if asked.json:
            print(json.dumps(asdict(found)), flush=True)
            continue
        rate = f"{found.failed} failed, {found.unreached} unreached of {found.total}"
        print(
            f"{found.scenario:26} {rate} in {found.seconds} s, seed {found.seed}"
            + (f"; {found.note}" if found.note else ""),
            flush=True,
        )
        if found.texts or found.problem:
            print(f"    {found.problem[:3000]}\n{found.texts}", flush=True)


if __name__ == "__main__":
    main()
