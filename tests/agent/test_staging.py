"""What is staged is judged by what the ledger says of it."""

from dataclasses import replace
from pathlib import Path

from certagent.agent.observe import Staging
from certagent.certs_dir import Scanner
from certagent.certs_dir.swap import Store
from certagent.core.facts import InFlight, Snapshot
from tests.core.building import policy, want
from tests.making import filled, keyed
from tests.moments import now


def test_staged_pair_waits_for_end_of_its_issuance(tmp_path: Path) -> None:
    """While the job that stages it is running, the ledger that was read before may not know that it was requested."""
    certs = tmp_path / "certs"
    ca = filled(certs)
    store, at = Store(str(certs)), now()
    store.stage("node", *keyed(ca.pair()))
    scan, staging, rules = Scanner().scan(str(certs), at), Staging(store, str(certs)), policy(want("ca"), want("node"))
    seen = Snapshot(scan.directory, scan.pairs)
    for kind, stem, expected in (("issue", "node", []), ("issue", "ui", ["node"]), ("probe", "node", ["node"])):
        running = replace(seen, in_flight=(InFlight(kind, stem, at),))  # type: ignore[arg-type]
        assert [s.pair.name.stem for s in staging.add(running, rules, None, at).staged] == expected
