"""The rule book, `check`, the core and the stand-in hold together over thousands of generated directories."""

import os
import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import pytest

from certagent.core.facts import Directory as Place
from certagent.core.facts import Snapshot
from certagent.core.judging import Target, document
from certagent.core.loading import start_problem, verdicts
from certagent.core.names import Name, parse
from certagent.core.policy import Owner, Policy
from certagent.core.principals import refused_principal
from certagent.demo.loader import Flags, LoadError, Material, load, loaded, reload_problem
from certagent.demo.loader import start_problem as standin_problem
from certagent.demo.logins import may_call, may_log_in, shown_by
from certagent.demo.offering import context_of, tls_problem
from certagent.operations.check import check
from certagent.posix.as_user import apart
from tests.verifying import rulebook as book
from tests.verifying.directories import GROUP, USER, Values, cert_bytes, directories, flags_of, key_bytes, written
from tests.verifying.go import ask_pairs, ask_pools

CI = bool(os.environ.get("CI"))
COUNT, FILES, SEED = 10_000 if CI else 500, 200 if CI else 20, 20261130
OWNER = Owner("cockroach", USER, GROUP)
built = lru_cache(maxsize=None)(context_of)


@pytest.mark.slow
@pytest.mark.real
def test_directory_tables_agree_with_go() -> None:
    """Which contents of keys make a pair, and which of bundles a pool: Go's X509KeyPair and AppendCertsFromPEM."""
    certs = [content for content, parses in book.CERTS.items() if parses]
    rows = [(cert, key) for cert in certs for key in book.KEYS]
    said = ask_pairs([(cert_bytes(cert, "node"), key_bytes(key, "node")) for cert, key in rows])
    assert {row: answer == "" for row, answer in zip(rows, said, strict=True)} == {r: book.KEYS[r[1]] for r in rows}
    pools = ask_pools([cert_bytes(cert, "node") for cert in certs])
    assert {cert for cert, answer in zip(certs, pools, strict=True) if answer == ""} == book.POOLED


def standin(directory: book.Directory, rules: book.Rules) -> Material | None:
    """What the stand-in loads; None where it refuses the directory."""
    values = Values(directory)
    try:
        return loaded(values.crts, values.found, flags_of(rules)[1], GROUP)
    except LoadError:
        return None


def problem_of(material: Material | None) -> str:
    """Why the stand-in does not come up."""
    return (standin_problem(material) or tls_problem(material, built)) if material else "refused"


def expected(directory: book.Directory, rules: book.Rules) -> dict[str, bool]:
    """For each .crt entry whether it is accepted; of a node that names nobody, not."""
    listed = (stem for stem in directory if directory[stem][0].stands != "absent")
    found = {f"{stem}.crt": book.taken(directory, stem, rules) for stem in listed}
    return found | ({"node.crt": False} if book.nameless(directory, rules) else {})


@pytest.mark.slow
def test_directory_start_verdicts_agree() -> None:
    """Accepted, file by file, and whether a node comes up: four times the same, and not always yes or no."""
    outcomes: Counter[bool] = Counter()
    for directory, rules in directories(COUNT, SEED):
        terms, _ = flags_of(rules)
        pairs, others = Values(directory).facts()
        judged = verdicts(pairs, others, GROUP, terms)
        told = expected(directory, rules)
        assert {v.name: v.accepted for v in judged} == told, (directory, rules)
        starts = book.starts(directory, rules)
        outcomes[starts] += 1
        assert (start_problem(judged, pairs) == "") == starts, (directory, rules)
        material = standin(directory, rules)
        assert (problem_of(material) == "") == starts, (directory, rules)
        if material is not None:
            good = {f"{stem}.crt" for stem, entry in material.entries.items() if not entry.error}
            good -= {"node.crt"} if book.nameless(directory, rules) else set()
            assert {name for name, taken in told.items() if taken} == good, (directory, rules)
    assert min(outcomes.values()) > COUNT / 5


@pytest.mark.slow
def test_directory_check_verdicts_agree() -> None:
    """The document has the verdict of each file and of the start; a refused file is a critical finding."""
    now = datetime(2026, 12, 1, tzinfo=UTC)
    place = Place("/certs", exists=True, uid=USER, gid=GROUP, mode=0o700)
    for directory, rules in directories(COUNT // 2, SEED + 1):
        pairs, others = Values(directory).facts()
        target = Target(Policy("/certs", OWNER, ""), flags_of(rules)[0], GROUP, serving=True)
        told = document(target, Snapshot(place, pairs, others, euid=USER), now)
        assert {f["name"]: f["accepted"] for f in told["files"]} == expected(directory, rules), (directory, rules)
        assert told["start"]["accepted"] == book.starts(directory, rules), (directory, rules)
        assert told["start"]["accepted"] or told["severity"] == "critical", (directory, rules)


@pytest.mark.slow
def test_directory_reload_verdicts_agree() -> None:
    """What a reload onto another directory loses, and whether every connection works afterwards."""
    outcomes: Counter[tuple[bool, bool]] = Counter()
    before: book.Directory = {stem: (book.Crt(), book.Key()) for stem in ("ca", "node", "ui", "ca-client")}
    before = before | {"client-tenant.7": (book.Crt(), book.Key()), "tenant-signing.007": (book.Crt(), book.Key())}
    for fresh, rules in directories(COUNT // 2, SEED + 2):
        old = {stem: pair for stem, pair in before.items() if stem in fresh or len(fresh) % 2}
        here, there = standin(old, rules), standin(fresh, rules)
        assert here is not None
        taken = book.reloads(old, fresh, rules)
        assert (there is not None and reload_problem(here, there) == "") == taken, (old, fresh, rules)
        if taken and there is not None:
            works = book.connects(fresh, rules)
            assert (tls_problem(there, built) == "") == works, (fresh, rules)
            outcomes[taken, works] += 1
    assert len(outcomes) == 2


def test_directory_login_verdicts_agree() -> None:
    """Every identity as every user, under each flag: node on RPC, the others at log-in."""
    for identity in book.IDENTITIES:
        crt = book.Crt(identity=identity)
        pair = Values({"client.root": (crt, book.Key())}).facts()[0][0]
        for mapped in ("", "node", "root"):
            for rules in (book.Rules(mapped=mapped), book.Rules(mapped=mapped, node_dn=True)):
                terms, flags = flags_of(rules)
                who = shown_by(cert_bytes("good", identity), flags)
                for user in ("node", "root", "app"):
                    told = book.let_in(crt, user, rules)
                    name = parse(f"client.{user}")
                    assert isinstance(name, Name)
                    assert pair.leaf is not None
                    assert (refused_principal(name, user, pair.leaf, terms) == "") == told, (identity, user, rules)
                    theirs = may_call(who, flags) if user == "node" else may_log_in(user, who, flags)
                    assert (theirs and not who.tenant) == told, (identity, user, rules)


@pytest.mark.slow
@pytest.mark.root
def test_directory_sample_is_read_alike() -> None:
    """A sample is written and read, with the rights of the user: by `check` and by the stand-in."""
    base = Path(tempfile.mkdtemp(prefix="certagent-test-"))
    base.chmod(0o755)
    try:
        for i, (directory, rules) in enumerate(directories(FILES, SEED + 3)):
            place = base / str(i) / "certs"
            for folder in (place, place.parent / "outside"):
                folder.mkdir(parents=True)
                os.chown(folder, USER, GROUP)
            written(directory, place)
            _read(place, directory, rules)
    finally:
        shutil.rmtree(base)


def _read(place: Path, directory: book.Directory, rules: book.Rules) -> None:
    terms, flags = flags_of(rules)
    told = check(Target(Policy(str(place), OWNER, ""), terms, GROUP, (GROUP,)))
    assert {f["name"]: f["accepted"] for f in told["files"]} == expected(directory, rules), (directory, rules)
    assert told["start"]["accepted"] == book.starts(directory, rules), (directory, rules)
    starts = apart((USER, GROUP), lambda: _starts(place, flags), (GROUP,))
    assert starts == book.starts(directory, rules), (directory, rules)


def _starts(place: Path, flags: Flags) -> bool:
    """Whether the stand-in starts with the directory."""
    try:
        material = load(str(place), flags, GROUP)
    except LoadError:
        material = None
    return problem_of(material) == ""
