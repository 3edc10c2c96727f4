"""`observe()` after a real `act()` equals `predict()`: the core's fake host, and `plan`, are held to the real one."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certagent.agent.start import put_together
from certagent.certs_dir.swap import Store
from certagent.config import load
from certagent.core import actions as act
from certagent.core.decide import decide
from certagent.core.facts import Pair, Request, Snapshot
from certagent.core.predict import forecast, predict
from certagent.events import Log
from certagent.keys import Key
from certagent.state.ledger import Ledger
from tests.system.running import Host
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
ANSWERED = ("issue", "install", "rollback", "reload")


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, eq=False)
class About:
    """A moment that was imagined before it came, on a machine that may have been busy meanwhile."""

    at: datetime

    def __eq__(self, other: object) -> bool:
        return isinstance(other, About) and abs(self.at - other.at) < timedelta(minutes=5)

    __hash__ = None  # type: ignore[assignment]


def of_pair(pair: Pair, *, fingerprint: bool) -> dict[str, Any]:
    """What one may rely on of a pair; the fingerprint of an imagined answer is made up."""
    leaf, key = pair.leaf, pair.key
    assert leaf is not None
    if pair.name.is_bundle:  # an authority's roots are its own: only that they are
        return {"stem": pair.name.stem, "ca": leaf.is_ca, "key": key, "trusted": pair.trust}
    return {
        "stem": pair.name.stem,
        "fingerprint": leaf.fingerprint if fingerprint else "",
        "principals": {*leaf.principals},
        "ips": leaf.ips,
        "eku": {*(leaf.eku or ())},
        "ca": leaf.is_ca,
        "key": leaf.key,
        "until": About(leaf.not_after),
        "matched": pair.matched,
        "mode": key and (key.file.mode, key.file.uid),
        "trusted": pair.trust and (pair.trust.bundle, pair.trust.problem),
    }


def projection(found: Snapshot, *, fingerprints: bool = True) -> dict[str, Any]:
    """The meaning of a snapshot: all that `decide` acts on, without sizes, inodes and moments."""
    staged = [(of_pair(s.pair, fingerprint=fingerprints), s.asked, s.handshake, s.breaks) for s in found.staged]
    kept = {
        (g.pair.name.stem, g.number, g.pair.leaf and g.pair.leaf.fingerprint, g.quarantined) for g in found.generations
    }
    return {
        "interrupted": found.directory.interrupted,
        "pairs": [of_pair(p, fingerprint=True) for p in found.pairs],
        "staged": staged,
        "kept": kept,
        "attempts": [(a.kind, a.subject, a.outcome, a.about) for a in found.attempts if a.kind in ANSWERED],
        "adopted": found.adopted if fingerprints else [(a.stem, a.want) for a in found.adopted],
        "issued": len(found.issued),
        "quarantined": found.quarantined,
        "served": {
            (s.address, s.kind, s.process, s.outcome, s.client_fingerprint or s.fingerprint) for s in found.served
        },
        "processes": [(p.identity, p.state) for p in found.processes],
        "looked": found.processes_at is not None,
        "repairs": [(r.file, r.ok) for r in found.repairs],
    }


class Deciding:
    """A world without a daemon: each action is taken from its own plan, carried out, and compared."""

    def __init__(self, host: Host) -> None:
        config = load(str(host.config))
        (host.base / "state").mkdir(exist_ok=True)
        ledger = Ledger.writing(str(host.base / "state" / "ledger.db"))
        with open(os.devnull, "w") as nowhere:
            log = Log(nowhere, "json", clock)
            directories = put_together(config, str(host.config), ledger, log, lambda _reason: None).directories
        self.readings = directories.readings
        self.world = directories.worlds[str(host.certs)]
        self.world.take_lock()

    def look(self) -> Snapshot:
        for reading in self.readings():
            reading.begin(clock())
        wait_until(lambda: not any(r.since for r in self.readings()), "all is read")
        return self.world.observe(clock())

    def planned(self, kind: type[act.Action]) -> act.Action:
        """The first action of that kind in the plan of now; everything before it is carried out."""
        for _ in range(20):
            plan = decide(self.world.policy, self.look(), clock())
            for action in plan.actions:
                if isinstance(action, kind):
                    return action
            for action in plan.actions:
                self.do(action)
        raise AssertionError(f"no {kind.__name__} comes")

    def do(self, action: act.Action) -> Snapshot:
        self.world.act(action, clock())
        wait_until(lambda: not self.world.observe(clock()).in_flight, f"{action} ends")
        return self.look()

    def holds(self, action: act.Action, *, fingerprints: bool = True) -> Snapshot:
        """Carry it out; what is seen then is what was predicted."""
        expected = predict(self.look(), action, clock())
        found = self.do(action)
        assert projection(expected, fingerprints=fingerprints) == projection(found, fingerprints=fingerprints)
        return found


@pytest.fixture
def deciding(host: Host) -> Iterator[Deciding]:
    """On a certs-dir with sound pairs."""
    done = host.once()
    assert done.returncode == 0, done.stdout + done.stderr
    made = Deciding(host)
    yield made
    made.world.stop()


def ask(deciding: Deciding, kind: Any) -> None:
    deciding.world.put(Request(kind, "node", clock()))


def test_predicted_first_issuance(host: Host) -> None:
    """An empty directory: every step of the forecast, bundle and pairs, has the predicted result; then it is idle."""
    host.make_certs()
    deciding = Deciding(host)
    deciding.do(act.Scan("to begin with"))
    told = forecast(deciding.world.policy, deciding.look(), clock())
    done: list[act.Action] = []
    while steps := decide(deciding.world.policy, deciding.look(), clock()).actions:
        for action in steps:
            deciding.holds(action, fingerprints=not isinstance(action, act.Issue))
        done += steps
    kinds = [[(type(a).__name__, act.subject_of(a)) for a in group] for group in (told, done)]
    assert kinds[0] == kinds[1]
    assert {"Issue", "Install", "Scan"} == {kind for kind, _ in kinds[0]}  # nobody was there before the swap
    deciding.world.stop()


def test_predicted_restrict_mode(host: Host, deciding: Deciding) -> None:
    """A wide key gets its mode."""
    (host.certs / "node.key").chmod(0o644)
    deciding.holds(deciding.planned(act.Restrict))


def test_predicted_discard(host: Host, deciding: Deciding) -> None:
    """A staged pair that the pre-install checks refuse is discarded."""
    elsewhere = Host(host.base / "elsewhere")
    elsewhere.base.mkdir()
    elsewhere.write()
    elsewhere.once()
    Store(str(host.certs)).stage(
        "node", (elsewhere.certs / "node.crt").read_bytes(), Key.of((elsewhere.certs / "node.key").read_bytes())
    )
    deciding.holds(deciding.planned(act.RejectStaged))


def test_predicted_adopt(host: Host) -> None:
    """An externally made pair is adopted."""
    host.once()
    shutil.rmtree(host.base / "state")
    deciding = Deciding(host)
    deciding.holds(deciding.planned(act.Adopt))
    deciding.world.stop()


def test_predicted_renewal_and_rollback(deciding: Deciding) -> None:
    """Issue, install, and back: the previous pair is live again, the other one quarantined."""
    ask(deciding, "renew")
    deciding.holds(deciding.planned(act.Issue), fingerprints=False)
    deciding.holds(deciding.planned(act.Install))
    ask(deciding, "rollback")
    deciding.holds(deciding.planned(act.Rollback))


def test_predicted_reuse_key(host: Host) -> None:
    """Only the certificate is new."""
    host.write(extra="[certs_dir.file.node]\nreuse_key = true")
    host.once()
    deciding = Deciding(host)
    ask(deciding, "renew")
    deciding.holds(deciding.planned(act.Issue), fingerprints=False)
    deciding.holds(deciding.planned(act.Install))
    deciding.world.stop()


def test_predicted_recover(host: Host, deciding: Deciding) -> None:
    """An intent file, though every pair matches, is removed."""
    (host.certs / ".certagent" / "intent").write_text("{}")
    deciding.holds(deciding.planned(act.Recover))


def test_predicted_scan_probe_reload(host: Host, deciding: Deciding) -> None:
    """Scan, probe, assume loaded; then a renewal, the signal, and the answers after it; then it is verified."""
    with host.server() as server:
        found = deciding.do(deciding.planned(act.Scan))
        assert [p.pid for p in found.processes] == [server.process.pid]
        for _ in range(3):  # two ports, and the client pair on one of them
            probe = deciding.planned(act.Probe)
            assert isinstance(probe, act.Probe)
            if probe.kind == "auto":  # what it will turn out to be is not known beforehand
                deciding.do(probe)
            else:
                deciding.holds(probe)
        deciding.holds(deciding.planned(act.AssumeLoaded))
        ask(deciding, "renew")
        reload = deciding.planned(act.Reload)
        expected = predict(deciding.look(), reload, clock())
        deciding.do(reload)
        wait_until(lambda: [e for e in server.log() if e["event"] == "reload"], "it was heard")
        for _ in range(3):  # the same three are asked again
            found = deciding.do(deciding.planned(act.Probe))
        assert projection(expected) == projection(found)
        deciding.holds(deciding.planned(act.RecordProof))
        assert expected.served[0].at - clock() < timedelta(minutes=1)
