"""The fixed directories and configurations whose status, plan, check and history are pinned."""

import os
import pwd
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.public.making import DAY, Leaf, Made, Workshop

NAMES = ("db1.example.com", "10.0.0.5")
SERVER = Leaf(names=NAMES)
OVERDUE = (-90, 30)  # its renewal was due ten days ago
EXPIRED, ENDING = (-130, -10), (-110, 10)
CLIENTS = {"node": (-20, 100), "root": (-10, 110), "app": (0, 120)}  # no two are due within one jitter
ALONE = '[certs_dir.process]\nnames = ["of-no-other-test"]\n'
NOBODY = "/nowhere/control.sock"  # no daemon answers there
HEAD = """[agent]
state_dir = "{base}/state"
socket = "{socket}"
[authority.house]
type = "local"
directory = "{base}/house"
"""
LEDGER = """
create table attempts (
  id integer primary key, directory text, kind text, subject text, at real,
  outcome text, reason text, digest text, retry_at real);
create table issued (
  directory text, stem text, fingerprint text, at real, primary key (directory, fingerprint));
create table adopted (
  directory text, stem text, fingerprint text, want text, at real, primary key (directory, stem, fingerprint));
create table quarantined (
  directory text, fingerprint text, at real, primary key (directory, fingerprint));
pragma user_version = 1;
"""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where one case is built, and by whose certificates. `house`: the CA of `[authority.house]`."""

    base: Path
    shop: Workshop
    house: Made

    @property
    def certs(self) -> Path:
        return self.base / "certs"

    def put(self, stem: str, made: Made, *, key: Made | None = None, mode: int = 0o600, into: str = "certs") -> None:
        """A certificate and its key, or that of another one."""
        self.write(f"{into}/{stem}.crt", made.pem, 0o644)
        self.write(f"{into}/{stem}.key", (key or made).key_pem, mode)

    def bundle(self, stem: str, *cas: Made, into: str = "certs") -> None:
        self.write(f"{into}/{stem}.crt", b"".join(ca.pem for ca in cas), 0o644)

    def leaf(self, stem: str, says: Leaf, ca: Made | None = None) -> Made:
        """A leaf that is known by the name of its file."""
        return self.shop.leaf(ca or self.house, stem, says)

    def client(self, user: str, *, ca: Made | None = None, days: tuple[int, int] | None = None) -> None:
        says = Leaf(user=user, usages=("client",), days=days or CLIENTS[user])
        self.put(f"client.{user}", self.leaf(f"client.{user}", says, ca))

    def write(self, name: str, data: bytes, mode: int) -> None:
        """A file of that very mode, whatever the umask."""
        file = self.base / name
        self.directory(file.parent)
        file.write_bytes(data)
        file.chmod(mode)

    def directory(self, path: Path) -> None:
        for part in reversed([path, *path.parents]):
            if part.is_relative_to(self.base) and not part.exists():
                part.mkdir()
                part.chmod(0o700)

    def configure(self, *certs_dirs: str, authorities: str = "") -> None:
        """The configuration: the house, more authorities, and a table for each directory.

        Its processes have a name of their own: cockroach of this host, or of another test, is none of them.
        """
        owner = pwd.getpwuid(os.geteuid()).pw_name
        tables = [f'[[certs_dir]]\nowner = "{owner}"\n{table.format(base=self.base)}\n{ALONE}' for table in certs_dirs]
        head = (HEAD + authorities).format(base=self.base, socket=NOBODY)
        self.write("config.toml", (head + "".join(tables)).encode(), 0o600)

    def ledger(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        """Rows of a table of the ledger, in the form that it has on the disks of those who use it."""
        file = self.base / "state" / "ledger.db"
        self.directory(file.parent)
        new = not file.exists()
        with sqlite3.connect(file) as base:
            if new:
                base.executescript(LEDGER)
            for row in rows:
                base.execute(f"insert into {table} values ({', '.join('?' * len(row))})", row)  # noqa: S608 - our words
        base.close()
        file.chmod(0o600)

    def failed(self, *stems: str) -> None:
        """An attempt to issue each, and a pause after it.

        Without one the plan depends on the age of the files by the kernel's clock, which tests cannot set: what was put
        there just now may not be complete.
        """
        about, ends = (str(self.certs), "issue"), ("failed", "cannot sign: the disk is full", "house", self.at(0.5))
        self.ledger("attempts", [(n, *about, stem, self.at(-0.5), *ends) for n, stem in enumerate(stems, 1)])

    def at(self, days: float) -> float:
        """A moment as the ledger has it."""
        return (self.shop.now + days * DAY).timestamp()


def place(base: Path, shop: Workshop) -> Place:
    """A case's own directory, with the CA of its house."""
    found = Place(base=base, shop=shop, house=shop.ca("house"))
    found.put("ca", found.house, into="house")
    return found


def steady(*stems: str) -> str:
    """Their tables: renewed at 2/3 by the configuration's word, because the point of the grid depends on the host."""
    return "".join(f'[certs_dir.file."{stem}"]\nrenew_at = "2/3"\n' for stem in stems)


STANDARD = 'path = "{base}/certs"\nauthority = "house"\nnames = ["db1.example.com", "10.0.0.5"]\n'


def healthy(at: Place) -> None:
    """The standard layout with a client, nothing wrong."""
    at.bundle("ca", at.house)
    at.put("node", at.leaf("node", SERVER))
    at.client("root")
    at.configure(STANDARD + 'clients = ["root"]\n' + steady("node", "client.root"))


def key_mode(at: Place) -> None:
    """A key that others may read."""
    at.bundle("ca", at.house)
    at.put("node", at.leaf("node", SERVER), mode=0o644)
    at.configure(STANDARD + steady("node"))


def expired(at: Place) -> None:
    """A leaf and a CA that have expired, and a client whose end is near."""
    at.bundle("ca", at.house, at.shop.ca("old house", (-3600, -10)))
    at.put("node", at.leaf("node", Leaf(names=NAMES, days=EXPIRED)))
    at.client("root", days=ENDING)
    at.configure(STANDARD + 'clients = ["root"]\n' + steady("node", "client.root"))


def mismatched(at: Place) -> None:
    """The key of another certificate; a new pair was asked for once, in vain."""
    at.bundle("ca", at.house)
    at.put("node", at.leaf("node", SERVER), key=at.leaf("other", SERVER))
    at.failed("node")
    at.configure(STANDARD + steady("node"))


def split_node(at: Place) -> None:
    """The layout split-node; the pair client.node is overdue, and a client was made for another user."""
    at.bundle("ca", at.house)
    at.put("node", at.leaf("node", Leaf(names=NAMES, usages=("server",))))
    at.client("node", days=OVERDUE)
    at.put("client.root", at.leaf("client.app", Leaf(user="app", usages=("client",), days=CLIENTS["root"])))
    at.configure(
        STANDARD + 'layout = "split-node"\nclients = ["root"]\n' + steady("node", "client.node", "client.root")
    )


def split_ca(at: Place) -> None:
    """The layout split-ca with clients; one of them is by the wrong CA, one is missing."""
    people = at.shop.ca("people")
    at.put("ca", people, into="people")
    at.bundle("ca", at.house)
    at.bundle("ca-client", people)
    at.put("node", at.leaf("node", Leaf(names=NAMES, usages=("server",))))
    for user in ("node", "root"):
        at.client(user, ca=people)
    at.client("app")
    more = 'layout = "split-ca"\nclient_authority = "people"\nclients = ["root", "app", "report"]\n'
    more += steady("node", *(f"client.{user}" for user in ("node", "root", "app", "report")))
    at.configure(STANDARD + more, authorities='[authority.people]\ntype = "local"\ndirectory = "{base}/people"\n')


def ui(at: Place) -> None:
    """Three directories whose `ui` is by a public CA: verified by its own roots, by the system's, and by neither."""
    public, at_home = at.shop.ca("public"), at.leaf("node", SERVER)
    console = Leaf(user="console.example.com", names=("console.example.com",), usages=("server",), days=CLIENTS["root"])
    made = at.leaf("ui", console, public)
    at.put("ca", public, into="public")
    at.bundle("own", public, into="roots")
    at.bundle("system", public, into="roots")
    at.bundle("none", at.shop.ca("somebody's"), into="roots")
    tables = []
    for name, roots in (("own", "own"), ("system", ""), ("neither", "none")):
        at.bundle("ca", at.house, into=name)
        at.put("node", at_home, into=name)
        at.put("ui", made, into=name)
        line = f'roots = "{{base}}/roots/{roots}.crt"\n' if roots else ""
        own = '[certs_dir.file.ui]\nauthority = "public"\nnames = ["console.example.com"]\nrenew_at = "2/3"\n' + line
        tables.append(STANDARD.replace("/certs", f"/{name}") + steady("node") + own)
    at.configure(*tables, authorities='[authority.public]\ntype = "local"\ndirectory = "{base}/public"\n')


def externally_managed(at: Place) -> None:
    """Somebody else rotates: a leaf whose end is near and a key that others may read, reported alone."""
    at.bundle("ca", at.house)
    at.put("node", at.leaf("node", Leaf(names=NAMES, days=ENDING)), mode=0o644)
    at.configure(
        STANDARD.replace("house", "others") + 'enforce = "report"\n', authorities='[authority.others]\ntype = "none"\n'
    )


def odd_files(at: Place) -> None:
    """No bundle; names that cockroach does not know, a directory, a link out of the directory, files without sense."""
    at.put("node", at.leaf("node", SERVER))
    at.put("client.root", at.leaf("client.root", Leaf(user="root", usages=("client",), days=CLIENTS["root"])))
    at.put("client.app", at.leaf("client.app", Leaf(user="app", usages=("client",))), into="kept")
    (at.certs / "client.root.key").unlink()
    (at.certs / "client.root.key").symlink_to(at.base / "kept" / "client.app.key")
    at.directory(at.certs / "client.folder.crt")
    at.write("certs/client.empty.crt", b"", 0o644)
    at.write("certs/client.words.crt", b"no certificate\n", 0o644)
    at.write("certs/client.words.key", b"no key\n", 0o600)
    for stranger in ("notes.crt", "node.old.crt", "README"):
        at.write(f"certs/{stranger}", b"", 0o644)
    at.write("house/ca.crt", b"no certificate\n", 0o644)
    at.failed("client.root", "client.folder", "client.empty", "client.words")
    at.configure(STANDARD + 'clients = ["root", "folder", "empty", "words"]\n' + steady("node", "client.root"))


def history(at: Place) -> None:
    """A ledger with failures, a CA that answers later, staged pairs good and bad, and generations."""
    at.bundle("ca", at.house)
    live = at.leaf("node", Leaf(names=NAMES, days=OVERDUE))
    at.put("node", live)
    at.client("root", days=OVERDUE)
    at.client("app", days=ENDING)
    fresh, bad = Leaf(user="app", usages=("client",)), Leaf(user="app", usages=("client",), days=EXPIRED)
    area = "certs/.certagent"
    at.put("client.app", at.leaf("client.app staged", fresh), into=f"{area}/staged")
    at.put("client.root", at.leaf("client.root staged", bad), into=f"{area}/staged")
    for number in (1, 2):
        earlier = at.leaf(f"node generation {number}", Leaf(names=NAMES, days=(-120 - number, -number)))
        at.write(f"{area}/old/node/{number}/crt", earlier.pem, 0o600)
        at.write(f"{area}/old/node/{number}/key", earlier.key_pem, 0o600)
    at.ledger("attempts", _attempts(at))
    known = {name: fingerprint for fingerprint, name in at.shop.known.items()}
    mine = [(str(at.certs), stem, known[stem], at.at(-90)) for stem in ("node", "client.root")]
    at.ledger("issued", [*mine, (str(at.certs), "client.app", known["client.app staged"], at.at(0))])
    at.ledger("quarantined", [(str(at.certs), known["node generation 2"], at.at(-30))])
    at.configure(STANDARD + 'clients = ["app", "root"]\n' + steady("node", "client.app", "client.root"))


def _attempts(at: Place) -> list[tuple[object, ...]]:
    """What was attempted, oldest first: a row of the ledger each."""
    known = {name: fingerprint for fingerprint, name in at.shop.known.items()}
    one, two = known["node generation 1"], known["node"]
    rows: list[tuple[str, str, float, str, str, str, float | None]] = [
        ("issue", "node", -100, "ok", "node.crt is missing", "house", None),
        ("install", "node", -100, "ok", "first", one, None),
        ("reload", "4711:1000", -100, "presumed", "it started after that", "material", None),
        ("rollback", "node", -30, "failed", "No space left on device", known["node generation 2"], None),
        ("install", "node", -20, "ok", "second", two, None),
        ("reload", "4711:1000", -20, "unproven", "the agent stopped before the result was known", "other", None),
        ("issue", "node", -2, "failed", "cannot sign: the disk is full", "house", None),
        ("issue", "node", -1, "refused", "policy", "house", None),
        ("issue", "node", -0.5, "failed", "cannot sign: the disk is full again", "house", at.at(0.5)),
        ("issue", "client.root", -1, "retry", "a person must approve it", "house", at.at(1)),
        ("window", "client.app", -1, "refused", "it has none", known["client.app"], None),
        ("command", "client.app", -0.5, "refused", "not due", "renew", None),
        ("issue", "client.app", -0.25, "ok", "renewal is due", "house", None),
    ]
    return [
        (n, str(at.certs), kind, subject, at.at(days), outcome, reason, digest, retry)
        for n, (kind, subject, days, outcome, reason, digest, retry) in enumerate(rows, 1)
    ]


def changed(at: Place) -> None:
    """OCSP strict with a responder that is not reached and a leaf that names none; another key, names added."""
    at.bundle("ca", at.house)
    at.put("node", at.leaf("node", Leaf(names=NAMES, responder="http://127.0.0.1:1/ocsp")))
    at.client("root")
    known = {name: fingerprint for fingerprint, name in at.shop.known.items()}
    at.ledger("issued", [(str(at.certs), "node", known["node"], at.at(-30))])
    names = STANDARD.replace('"10.0.0.5"', '"10.0.0.5", "db1", "new.example.com"')
    own = '[certs_dir.file.node]\nkey = "ecdsa-p384"\nlifetime = "60d"\nrenew_at = "2/3"\n'
    own += '[certs_dir.ocsp]\nmode = "strict"\nallow_private = true\n'
    at.configure(names + 'clients = ["root"]\n' + steady("client.root") + own)


CASES: dict[str, Callable[[Place], None]] = {
    "healthy": healthy,
    "key-mode": key_mode,
    "expired": expired,
    "mismatched-key": mismatched,
    "split-node": split_node,
    "split-ca": split_ca,
    "ui": ui,
    "externally-managed": externally_managed,
    "odd-files": odd_files,
    "history": history,
    "changed": changed,
}
