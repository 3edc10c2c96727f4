"""Everything that changes or reads a certs-dir, each call of it failing or killed in turn, in one process.

Run with faulty.c preloaded. argv: an empty directory, and `fail` or `kill`. It prints how many points it tried, and
what did not hold, as JSON.
"""

import ctypes
import errno
import gc
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from certagent.certs_dir import Runner, Scanner, load
from certagent.certs_dir.lock import DirectoryLock
from certagent.certs_dir.swap import Store, pending, restrict
from certagent.certs_dir.swap.files import digest
from certagent.certs_dir.swap.stored import Draft
from certagent.core.facts import Attempt
from certagent.keys import Key
from certagent.posix.errors import HostError
from certagent.state.authority_state import AuthorityState
from certagent.state.ledger import Ledger
from tests.making import Ca, filled, inside, keyed, matched
from tests.moments import now

LIBRARY = ctypes.CDLL(None)
LIBRARY.arm.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_long)
LIBRARY.disarm.restype = ctypes.c_long
LIBRARY.name_of.restype = ctypes.c_char_p
CHANGING = (
    b" renameat renameat2 unlinkat mkdirat mkdir fsync fdatasync"
    b" fchmod fchown chmod ftruncate64 write pwrite64 openat64 "
)
OPENING = frozenset({"open64", "openat64", "fdopendir"})
RENAMES = frozenset({"renameat", "renameat2"})
AREA = ".certagent"
KEEP = 3
Step = Callable[[Path], None]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`prepare` fills an empty directory, `step` is what is tried. `without`: calls that the file system lacks."""

    name: str
    prepare: Callable[[Path, Ca], None]
    step: Step
    without: bytes = b""


def live(certs: Path, stem: str = "node") -> tuple[bytes, bytes] | None:
    """The live pair; None where one of the two is missing."""
    with suppress(FileNotFoundError):
        return (certs / f"{stem}.crt").read_bytes(), (certs / f"{stem}.key").read_bytes()
    return None


def ways_back(certs: Path) -> frozenset[bytes]:
    """The certificates of whole generations, without the live one."""
    places = (certs / AREA / "old").glob("*/*/crt")
    now_live = live(certs)
    return frozenset(
        p.read_bytes()
        for p in places
        if (p.parent / "key").exists() and (now_live is None or p.read_bytes() != now_live[0])
    )


def keys(certs: Path) -> list[Path]:
    """Every file that may be a private key."""
    return [p for p in certs.rglob("*") if p.is_file() and (p.name == "key" or ".key" in p.name)]


def spare(certs: Path) -> list[str]:
    """The keys below the staging area that nothing needs."""
    found = []
    for key in (p for p in keys(certs) if AREA in p.parts):
        others = {"crt", f"{key.name.removesuffix('.key')}.crt", f"{key.name.removesuffix('.key')}.csr"}
        whole = not key.name.startswith(".") and any((key.parent / other).exists() for other in others)
        if not whole or "taking" in key.parts:
            found.append(str(key.relative_to(certs)))
    return found


def torn(certs: Path, _: Ca) -> None:
    """A swap that was killed after the key."""
    os.rename(certs / AREA / "staged" / "node.key", certs / "node.key")
    (certs / AREA / "intent").write_text('{"stem": "node"}')


def rotated(certs: Path, ca: Ca) -> None:
    """Three generations, and a pair that is staged."""
    store = Store(str(certs), KEEP)
    for _ in range(KEEP):
        store.stage("node", *keyed(ca.pair()))
        install(certs)
    store.stage("node", *keyed(ca.pair()))


def install(certs: Path) -> None:
    """Install what is staged."""
    store = Store(str(certs), KEEP)
    row = store.staged()[0]
    key = row.key if row.key is not None else (certs / "node.key").read_bytes()
    store.install("node", (digest(row.cert), digest(key)), 0o600, (None, None))


def first(certs: Path, ca: Ca) -> None:
    """A pair that is staged where there was none."""
    for file in certs.glob("node.*"):
        file.unlink()
    Store(str(certs)).stage("node", *keyed(ca.pair()))


def staged(certs: Path, ca: Ca) -> None:
    """One that is staged, with one generation."""
    Store(str(certs)).stage("node", *keyed(ca.pair()))
    install(certs)
    Store(str(certs)).stage("node", *keyed(ca.pair()))


def interrupted(certs: Path, ca: Ca) -> None:
    """A swap that was killed, after another one."""
    staged(certs, ca)
    torn(certs, ca)


def backwards(certs: Path, ca: Ca) -> None:
    """The same where the staged certificate is gone."""
    rotated(certs, ca)
    install_of = live(certs)
    assert install_of is not None
    place = certs / AREA / "old" / "node" / "9"
    place.mkdir(parents=True)
    for name, data in zip(("crt", "key"), install_of, strict=True):
        (place / name).write_bytes(data)
        (place / name).chmod(0o600)
    torn(certs, ca)
    (certs / AREA / "staged" / "node.crt").unlink()


def waiting(certs: Path, ca: Ca) -> None:
    """A request that waits."""
    pending.keep(str(certs), "ui", "mark", Draft(csr=b"a CSR", key=Key.of(ca.pair("ui")[1])))


def keep(certs: Path) -> None:
    """A request, read back and replaced."""
    pending.keep(str(certs), "ui", "other", Draft(csr=b"a CSR", key=Key.of(b"a key")))
    assert pending.kept(str(certs), "ui", "other") is not None


def look(certs: Path) -> None:
    """What an observation reads."""
    scanner = Scanner()
    scanner.scan(str(certs), now())
    scanner.scan_changed_keys(str(certs))
    store = Store(str(certs))
    store.staged()
    store.generation_marks()
    store.generations()


def hold(certs: Path) -> None:
    """The lock, taken and released."""
    lock = DirectoryLock(Store(str(certs)))
    try:
        lock.take()
    finally:
        lock.release()


def book(certs: Path) -> None:
    """A ledger that is opened and written."""
    ledger = Ledger.writing(str(certs / "ledger.db"))
    with suppress(HostError):
        row = ledger.attempt(str(certs), Attempt("install", "node", now()))
        ledger.finish(row, "ok", "")
    ledger.close()


def recover(certs: Path) -> None:
    """A recovery."""
    Store(str(certs), KEEP).recover()


def account(certs: Path) -> None:
    """What an authority remembers, written and read."""
    state = AuthorityState(str(certs / "state"))
    state.write("acme", "node", {}, {"account": 1}, {"order": 1})
    state.read("acme", "node")


def nothing(_: Path, __: Ca) -> None:
    """The directory as it is."""


SCENARIOS = (
    Scenario(name="swap", prepare=staged, step=install),
    Scenario(name="swap without exchange", prepare=staged, step=install, without=b" renameat2 "),
    Scenario(name="first installation", prepare=first, step=install),
    Scenario(name="swap that prunes", prepare=rotated, step=install),
    Scenario(name="staging", prepare=staged, step=lambda c: Store(str(c)).stage("node", b"crt", Key.of(b"key"))),
    Scenario(name="discard", prepare=staged, step=lambda c: Store(str(c)).discard("node", "it is bad")),
    Scenario(
        name="rollback", prepare=rotated, step=lambda c: Store(str(c), KEEP).rollback("node", 2, 0o600, (None, None))
    ),
    Scenario(name="recovery, forward", prepare=interrupted, step=recover),
    Scenario(name="recovery, back", prepare=backwards, step=recover),
    Scenario(name="sweep", prepare=interrupted, step=lambda c: Store(str(c)).sweep()),
    Scenario(name="pending request", prepare=waiting, step=keep),
    Scenario(name="answered request", prepare=waiting, step=lambda c: pending.forget(str(c), "ui")),
    Scenario(name="unwanted requests", prepare=waiting, step=lambda c: pending.only(str(c), frozenset({"node"}))),
    Scenario(name="observation", prepare=rotated, step=look),
    Scenario(name="lock", prepare=staged, step=hold),
    Scenario(name="ledger", prepare=nothing, step=book),
    Scenario(name="check", prepare=rotated, step=lambda c: load(str(c), now(), Runner(0, 0, (0,)))),
    Scenario(name="authority's state", prepare=nothing, step=account),
    Scenario(name="mode", prepare=nothing, step=lambda c: restrict(str(c), "node.key", 0o600)),
    Scenario(name="retirement", prepare=rotated, step=lambda c: Store(str(c)).remove_all(())),
)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens at which call; `code` 0: SIGKILL."""

    calls: bytes = b""
    at: int = 0
    code: int = 0
    lasts: bool = False


def armed(step: Step, certs: Path, fault: Fault, without: bytes) -> list[str]:
    """Make a step under a fault; return the names of the calls it made."""
    LIBRARY.forget(without)
    LIBRARY.arm(fault.calls, fault.at, fault.code, int(fault.lasts))
    try:
        with suppress(HostError, OSError):
            step(certs)
    finally:
        count = LIBRARY.disarm()
        LIBRARY.forget(b"")
    return [str(LIBRARY.name_of(n).decode()).strip() for n in range(count)]


def leaked(before: set[str]) -> int:
    """How many descriptors there are that were not there before."""
    return len(set(os.listdir("/proc/self/fd")) - before)


def fresh(template: Path, place: Path) -> Path:
    """A copy of the template."""
    shutil.rmtree(place, ignore_errors=True)
    return Path(shutil.copytree(template, place))


class Trial:
    """One scenario: its template, and what was live in it."""

    def __init__(self, scenario: Scenario, base: Path) -> None:
        """Prepare it once, and count the calls of its step."""
        self.scenario, self.template, self.place = scenario, base / "template", base / "certs"
        shutil.rmtree(self.template, ignore_errors=True)
        ca = filled(self.template)
        scenario.prepare(self.template, ca)
        self.old, self.ways = live(self.template), ways_back(self.template)

    def calls(self, names: bytes = b"") -> list[str]:
        """The names of the calls of its step, where nothing fails."""
        certs = fresh(self.template, self.place)
        found = armed(self.scenario.step, certs, Fault(calls=names), self.scenario.without)
        self.new, self.after = live(certs), ways_back(certs)
        return found

    def failed(self, fault: Fault, name: str) -> Iterator[str]:
        """What does not hold after that error."""
        certs = fresh(self.template, self.place)
        before = set(os.listdir("/proc/self/fd"))
        armed(self.scenario.step, certs, fault, self.scenario.without)
        if leaked(before):
            gc.collect()  # the descriptor of a key ends with its value, which an error may hold in a circle
        if count := leaked(before):
            yield f"{count} descriptors leaked"
        if self.scenario.name == "retirement":
            return
        swapping = "swap" in self.scenario.name or "first" in self.scenario.name
        if swapping and not fault.lasts and name in RENAMES and not spared(certs, self.old, self.new):
            yield "not undone at once"
        if (found := spare(certs)) and not fault.lasts and name != "unlinkat":
            yield f"spare keys after the failure: {found}"
        yield from self.recovered(certs)

    def killed(self, fault: Fault) -> Iterator[str]:
        """What does not hold after a kill and the next start."""
        certs = fresh(self.template, self.place)
        child = os.fork()
        if child == 0:
            armed(self.scenario.step, certs, fault, self.scenario.without)
            os._exit(0)
        os.waitpid(child, 0)
        if self.scenario.name == "retirement":
            return
        yield from self.recovered(certs)

    def recovered(self, certs: Path) -> Iterator[str]:
        """What does not hold after the next start: the lock, and the recovery where an intent is there."""
        if any(p.stat().st_mode & 0o77 for p in keys(certs)):
            yield "a key is wider than 0600"
        try:
            hold(certs)
        except (HostError, OSError) as error:
            yield f"the next start fails: {error}"
        if (certs / AREA / "intent").exists():
            Store(str(certs), KEEP).recover()
        if found := spare(certs):
            yield f"spare keys after the next start: {found}"
        if (certs / AREA / "intent").exists():
            yield "an intent stays"
        if live(certs) not in (self.old, self.new) and not matched(*(live(certs) or (None, None))):
            yield "the pair is torn"
        lost = (self.ways if live(certs) == self.old else self.after) - ways_back(certs)
        if lost and self.scenario.name != "recovery, back":
            yield f"{len(lost)} ways back lost"


def spared(certs: Path, old: object, new: object) -> bool:
    """Whether a swap that failed changed nothing, or was made; and what is staged is still whole."""
    if live(certs) == new:
        return True
    area = certs / AREA
    rows = Store(str(certs)).staged()
    whole = [matched(row.cert, inside(row.key)) for row in rows] == [True]
    return live(certs) == old and not (area / "intent").exists() and whole


def errors(trial: Trial) -> Iterator[tuple[Fault, str]]:
    """One error at each call; and from each changing call on, one that stays."""
    for at, name in enumerate(trial.calls(), 1):
        yield Fault(at=at, code=errno.EMFILE if name in OPENING else errno.EIO), name
    for at, name in enumerate(trial.calls(CHANGING), 1):
        yield Fault(calls=CHANGING, at=at, code=errno.ENOSPC), name
        yield Fault(calls=CHANGING, at=at, code=errno.EROFS, lasts=True), name


def run(base: Path, how: str) -> tuple[dict[str, int], list[str]]:
    """Every point of every scenario; return the number of points, and what did not hold."""
    points, wrong = dict[str, int](), list[str]()
    for scenario in SCENARIOS:
        trial = Trial(scenario, base)
        if how == "fail":
            tried = [(f, n, list(trial.failed(f, n))) for f, n in errors(trial)]
        else:
            calls = trial.calls(CHANGING)
            faults = [(Fault(calls=CHANGING, at=at), name) for at, name in enumerate(calls, 1)]
            tried = [(fault, name, list(trial.killed(fault))) for fault, name in faults]
        points[scenario.name] = len(tried)
        wrong += [f"{scenario.name}: {name} {fault}: {what}" for fault, name, found in tried for what in found]
    return points, wrong


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), sys.argv[2])))
