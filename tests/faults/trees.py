"""The files of one agent: how each scenario begins, and what must hold after a fault, and after the next start."""

import shutil
import sqlite3
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.making import matched
from tests.system.running import Host

KEY = b"PRIVATE KEY"
STEMS = ("node", "client.root")


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What the ledger says."""

    asked: Counter[str]  # issuances, by subject
    open: int


class Tree:
    """A host whose files can be put back to how a scenario begins."""

    def __init__(self, base: Path) -> None:
        self.base, self.kept = base / "host", base / "kept"
        self.base.mkdir(mode=0o755)
        self.host = Host(self.base)
        self.host.make_certs()

    @property
    def certs(self) -> Path:
        return self.host.certs

    @property
    def area(self) -> Path:
        return self.certs / ".certagent"

    def keep(self) -> None:
        """The scenario begins with the files of now."""
        shutil.rmtree(self.kept, ignore_errors=True)
        shutil.copytree(self.base, self.kept, symlinks=True)

    def restore(self) -> None:
        """The files are again what they were at the beginning, modes and times included."""
        for entry in self.base.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        shutil.copytree(self.kept, self.base, symlinks=True, dirs_exist_ok=True)

    def rows(self) -> Rows:
        """Read from a copy: a journal that a crash left is for the agent to find."""
        with tempfile.TemporaryDirectory() as place:
            for file in (self.base / "state").glob("ledger.db*"):
                shutil.copy(file, place)
            base = sqlite3.connect(f"{place}/ledger.db")
            try:
                assert [("ok",)] == base.execute("pragma integrity_check").fetchall()
                if not base.execute("select 1 from sqlite_master where name = 'attempts'").fetchall():
                    return Rows(asked=Counter(), open=0)
                asked = base.execute("select subject from attempts where kind = 'issue'").fetchall()
                opened = base.execute("select count(*) from attempts where outcome = 'asked'").fetchall()
            finally:
                base.close()
        return Rows(asked=Counter(row[0] for row in asked), open=opened[0][0])

    def private(self) -> list[Path]:
        """Every file below the host that holds a private key, or a part of one."""
        files = (p for p in self.base.rglob("*") if p.is_file() and not p.is_symlink())
        return [p for p in files if KEY in p.read_bytes()]

    def torn(self) -> list[str]:
        """The pairs of the certs-dir whose key and certificate do not match."""
        stems = [p.stem for p in self.certs.glob("*.key")]
        return [s for s in stems if not matched(*(_bytes(self.certs / f"{s}.{end}") for end in ("crt", "key")))]

    def ways_back(self) -> Counter[str]:
        """The generations whose key and certificate match, by stem."""
        found = [p for p in self.area.glob("old/*/*") if matched_at(p)]
        return Counter(p.parent.name for p in found)

    def staged(self) -> set[str]:
        """The stems that are staged whole."""
        return {p.stem for p in self.area.glob("staged/*.crt") if not p.name.startswith(".")}

    def spare(self) -> list[str]:
        """The private keys below `.certagent` of no way back, no whole staged pair, and no request that waits."""
        keys = [p for p in self.private() if self.area in p.parents]
        return [str(p.relative_to(self.area)) for p in keys if not _wanted(p)]


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def matched_at(generation: Path) -> bool:
    """Whether the key and the certificate of a generation match."""
    return matched(_bytes(generation / "crt"), _bytes(generation / "key"))


def _wanted(key: Path) -> bool:
    if key.parent.name == "pending":
        return key.with_suffix(".csr").exists()
    cert = key.with_suffix(".crt") if key.parent.name == "staged" else key.with_name("crt")
    return matched(_bytes(cert), key.read_bytes())


def holds_at_once(tree: Tree) -> None:
    """What holds at any moment, before anything was recovered."""
    assert [] == [str(p) for p in tree.private() if p.stat().st_mode & 0o077]
    if tree.torn():
        assert (tree.area / "intent").exists(), tree.torn()


def holds_after_start(tree: Tree, ways_back: Counter[str]) -> None:
    """What holds once the agent was started again and has settled."""
    assert [] == [str(p) for p in tree.private() if p.stat().st_mode & 0o077]
    assert [] == tree.torn()
    assert [] == tree.spare()
    assert not (tree.area / "intent").exists()
    assert tree.rows().open == 0
    assert {} == ways_back - tree.ways_back()
