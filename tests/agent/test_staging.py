"""What is staged is judged by what the ledger says of it."""

from dataclasses import replace
from pathlib import Path

from certagent.agent.observe import Staging
from certagent.certs_dir import Scanner
from certagent.certs_dir.swap import Store
from certagent.core.facts import InFlight, Snapshot
from tests.certs_dir.test_budget import constrained, named
from tests.core.building import policy, want
from tests.making import filled, keyed, put
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


def test_staged_pairs_that_cost_too_much_are_verified_in_later_checks(tmp_path: Path) -> None:
    """Name constraints times names, for one check: at least one is verified in each, and no other is installed."""
    certs, at, ca = tmp_path / "certs", now(), constrained(20)
    certs.mkdir(mode=0o700)
    (certs / "ca.crt").write_bytes(ca.cert)
    store, users = Store(str(certs)), ("client.a", "client.b", "client.c")
    for user in users:
        store.stage(user, *keyed(named(ca, user.partition(".")[2], 10)))
    rules = policy(want("ca"), *map(want, users))
    scan, staging = Scanner().scan(str(certs), at), Staging(store, str(certs), comparisons=450)
    done = []
    for _ in range(2):
        found = staging.add(Snapshot(scan.directory, scan.pairs), rules, None, at)
        done.append([s.pair.name.stem for s in found.staged if s.pair.trust and not s.pair.trust.unread])
    assert done == [["client.a", "client.b"], list(users)]


def test_generations_and_loaded_files_that_cost_too_much_are_left_out(tmp_path: Path) -> None:
    """The newest are verified; an older one is no way back and nothing to compare with, until the next check."""
    certs, at, ca = tmp_path / "certs", now(), constrained(20)
    certs.mkdir(mode=0o700)
    (certs / "ca.crt").write_bytes(ca.cert)
    put(certs, "client.a", named(ca, "a", 10))
    store, rules = Store(str(certs)), policy(want("ca"), want("client.a"))
    for _ in range(3):
        store.stage("client.a", *keyed(named(ca, "a", 10)))
        scan = Scanner().scan(str(certs), at)
        [staged] = Staging(store, str(certs)).add(Snapshot(scan.directory, scan.pairs), rules, None, at).staged
        store.install("client.a", staged.pair.digests, 0o600, (None, None))
    staging = Staging(store, str(certs), comparisons=450)
    scan = Scanner().scan(str(certs), at)
    found = staging.add(Snapshot(scan.directory, scan.pairs), rules, None, at)
    known = {g.number: g.pair.trust is not None and not g.pair.trust.unread for g in found.generations}
    assert [known[number] for number in sorted(known)] == [False, True, True]
    staging = Staging(store, str(certs), comparisons=450)
    sets = {str(n): {"ca": ca.cert, "client.a": named(ca, "a", 10)[0]} for n in range(3)}
    judged = staging.add_loaded(Snapshot(scan.directory, scan.pairs), rules, sets, None, at).loaded
    assert [loaded.material for loaded in judged] == ["1", "2"]
