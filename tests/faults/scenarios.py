"""How each scenario begins: what is on the disk when the agent is started that is then killed, cut off or refused."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from certagent import x509
from certagent.certs_dir.swap import Store
from tests.faults.calls import Nursery, Plan
from tests.faults.trees import STEMS, Tree
from tests.making import Ca, filled, keyed, make_ca
from tests.moments import now
from tests.system.test_dropbox import PEOPLE

ONCE = ("run", "--once", "--deadline", "600", "--log", "json", "-c")
WARNING = 1
NAMES = ["localhost", "127.0.0.1"]


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """`begin` makes the files; `least`: calls that a run makes; `most`: issuances of one pair that are normal."""

    begin: Callable[[Tree, Nursery], None]
    least: int = 30
    most: int = 1
    ledger: bool = False  # whether the default form stops at the ledger's own calls, too
    command: str = ""  # to a daemon that runs; "": the agent is started, and does what is due
    event: str = ""  # that the command was carried out
    verb: tuple[str, ...] = ()  # a command without an agent, carried out instead of it; "DIR" is the certs-dir


def settle(tree: Tree, nursery: Nursery) -> int:
    """One agent without a fault, until nothing is left to do; its exit code, 0 for a warning.

    A warning may be of another process of the machine, such as a cockroach without certificates.
    """
    code = nursery.run(Plan(), *ONCE, str(tree.host.config))
    return 0 if code == WARNING else code


def first_start(tree: Tree, nursery: Nursery) -> None:
    """Nothing is there: the CA, the bundle, the pairs, the ledger and the authorities' state are made."""
    del nursery
    tree.host.write()


def healthy(tree: Tree, nursery: Nursery) -> None:
    tree.host.write()
    assert settle(tree, nursery) == 0


def named(tree: Tree, more: int) -> None:
    """The configuration wants so many names more of the node."""
    tree.host.write(names=json.dumps([*NAMES, *(f"n{number}.example.com" for number in range(more))]))


def rotation(tree: Tree, nursery: Nursery) -> None:
    """A healthy directory, and one more name is wanted of the node."""
    healthy(tree, nursery)
    named(tree, 1)


def pruning(tree: Tree, nursery: Nursery) -> None:
    """There are as many generations as are kept: the next rotation drops the oldest one."""
    healthy(tree, nursery)
    for count in range(1, 7):
        named(tree, count)
        assert settle(tree, nursery) == 0
    named(tree, 7)


def adoption(tree: Tree, nursery: Nursery) -> None:
    """The files of another tool, and no ledger yet."""
    del nursery
    tree.host.write()
    house(tree, filled(tree.certs, *STEMS))


def house(tree: Tree, ca: Ca, directory: str = "ca") -> None:
    """The CA of the agent is that one."""
    place = tree.base / directory
    place.mkdir(mode=0o700, exist_ok=True)
    (place / "ca.crt").write_bytes(ca.cert)
    (place / "ca.key").write_bytes(ca.key)
    (place / "ca.key").chmod(0o600)


def torn_forward(tree: Tree, nursery: Nursery) -> None:
    """A swap was interrupted between the two renames; the certificate is still staged."""
    healthy(tree, nursery)
    ca = Ca((tree.base / "ca/ca.crt").read_bytes(), (tree.base / "ca/ca.key").read_bytes(), now())
    Store(str(tree.certs)).stage("node", *keyed(ca.pair("node", names=("localhost", "127.0.0.1"))))
    os.rename(tree.area / "staged/node.key", tree.certs / "node.key")
    (tree.area / "intent").write_text('{"stem": "node"}')


def torn_back(tree: Tree, nursery: Nursery) -> None:
    """The same, and the staged certificate is lost: only the previous key matches."""
    rotation(tree, nursery)
    assert settle(tree, nursery) == 0
    old = tree.area / "old/node/2"
    old.mkdir(mode=0o700)
    for name, live in (("crt", "node.crt"), ("key", "node.key")):
        (old / name).write_bytes((tree.certs / live).read_bytes())
        (old / name).chmod(0o600)
    (tree.certs / "node.key").write_bytes(x509.generate_key("ecdsa-p256"))
    (tree.area / "intent").write_text("{}")


def discard(tree: Tree, nursery: Nursery) -> None:
    """What is staged is of a CA that nobody trusts."""
    healthy(tree, nursery)
    Store(str(tree.certs)).stage("node", *keyed(make_ca("another").pair("node")))


def people(tree: Tree) -> Ca:
    """A CA run by people, whose root is in the bundle already."""
    ca = make_ca("people's CA")
    (tree.certs / "ca.crt").write_bytes(ca.cert)
    table = PEOPLE.format(base=tree.base, remind="1d")
    tree.host.write(house=table, authority='"people"', clients="[]")
    return ca


def request(tree: Tree, nursery: Nursery) -> None:
    """A first request to people: key and CSR are kept, the request goes into the outbox."""
    del nursery
    people(tree)


def answer(tree: Tree, nursery: Nursery) -> None:
    """The request waits, and the answer is in the inbox."""
    ca = people(tree)
    settle(tree, nursery)
    (csr,) = (tree.base / "outbox").glob("*.csr")
    begin, end = now(), now().replace(year=now().year + 1)
    options = {"server": True, "client": True, "not_before": begin, "not_after": end}
    chain = x509.sign_csr(csr.read_bytes(), ca.cert, ca.key, **options)
    (tree.base / "inbox" / "signed.pem").write_bytes(chain)


def rollback(tree: Tree, nursery: Nursery) -> None:
    """A rotation was carried out, and a person takes it back."""
    rotation(tree, nursery)
    assert settle(tree, nursery) == 0
    tree.host.write()  # what went back must have the names that are wanted


def pinned(tree: Tree, nursery: Nursery) -> None:
    """One more name is wanted of a node whose key is pinned somewhere: the live key is that of the new certificate."""
    healthy(tree, nursery)
    tree.host.write(names=json.dumps([*NAMES, "n0.example.com"]), extra="[certs_dir.file.node]\nreuse_key = true")


def another_authority(tree: Tree, nursery: Nursery) -> None:
    """The CA is retired: another one is configured, whose root an operator has added, and one more name of the node."""
    healthy(tree, nursery)
    other = make_ca("other CA")
    house(tree, other, "other")
    with open(tree.certs / "ca.crt", "ab") as bundle:
        bundle.write(other.cert)
    shutil.rmtree(tree.base / "ca")
    tree.host.write(names=json.dumps([*NAMES, "n0.example.com"]))
    text = tree.host.config.read_text()
    tree.host.config.write_text(text.replace("house", "other").replace("/ca'", "/other'"))


def retired(tree: Tree, nursery: Nursery) -> None:
    """A certs-dir with a way back, that is given up: `certagent retire`."""
    rotation(tree, nursery)
    assert settle(tree, nursery) == 0


RETIRE = ("retire", "DIR", "--remove-keys", "-c")
SCENARIOS = {
    "first start": Scenario(begin=first_start, ledger=True),
    "rotation": Scenario(begin=rotation, ledger=True),
    "pruning": Scenario(begin=pruning),
    "adoption": Scenario(begin=adoption, ledger=True),
    "recovery forward": Scenario(begin=torn_forward),
    "recovery back": Scenario(begin=torn_back),
    "discard": Scenario(begin=discard),
    "request": Scenario(begin=request, most=2),  # the directories that it makes are news
    "answer": Scenario(begin=answer),
    "reused key": Scenario(begin=pinned),
    "another authority": Scenario(begin=another_authority),
    "retirement": Scenario(begin=retired, verb=RETIRE, least=10),
    "rollback": Scenario(begin=rollback, command="rollback node", event="pair.rolled-back"),
}
