"""One answer to "does this certificate verify, and by which bundle", whoever asks it."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certagent import x509
from certagent.agent.observe import Staging
from certagent.authority.errors import AuthorityError
from certagent.certs_dir import Runner, Scanner, load, system_roots
from certagent.certs_dir.swap import Store
from certagent.certs_dir.verify import TrustStore, trust
from certagent.core.actions import Install, RejectStaged
from certagent.core.decide import decide
from certagent.core.facts import LoaderFlags, Snapshot, Trust
from certagent.core.names import NODE, Name, parse
from certagent.core.policy import Owner, Policy, Want
from certagent.core.rules import refusal
from certagent.operations.authority_test import StepError, accepted, trust_store
from certagent.operations.check import Target, check
from tests.making import Ca, cross_signed, filled, keyed, make_ca, put
from tests.moments import now

STEMS = ("node", "ui", "client.root", "client.node", "client-tenant.7")
HOUSE, OTHER, PUBLIC = "house", "other", "public"
BUNDLES = ("ca", "ca-client", "ca-ui", "ca-client-tenant")
OWNER = Owner("cockroach", 0, 0)


@lru_cache
def ca(name: str) -> Ca:
    return make_ca(name)


@lru_cache
def pair_of(stem: str, name: str, usages: str) -> tuple[bytes, bytes]:
    """A key and its certificate by that CA, for a server ("s"), a client ("c") or both."""
    key = x509.generate_key("ecdsa-p256")
    user = stem.partition(".")[2] or "node"
    csr = x509.make_csr(key, user, ("localhost",) if stem in {"node", "ui"} else ())
    begin, end = now() - timedelta(days=1), now() + timedelta(days=30)
    signed = x509.sign_csr(
        csr, ca(name).cert, ca(name).key, server="s" in usages, client="c" in usages, not_before=begin, not_after=end
    )
    return signed, key


def named(stem: str) -> Name:
    name = parse(stem)
    assert isinstance(name, Name)
    return name


def policy_of(path: Path, *, split: bool) -> Policy:
    """Every pair of STEMS, and with `split` `client.node` among them, as the configuration has it."""
    wants = []
    for stem in STEMS:
        name = named(stem)
        if stem == "client.node" and not split:
            continue
        use = name.kind.asked(name.subject, split=split)
        roots = str(path.parent / "roots.pem") if stem == "ui" else ""
        wants.append(Want(name, (HOUSE,), None, use.principal, use.server, use.client, key_owner=OWNER, roots=roots))
    return Policy(str(path), OWNER, "host", tuple(wants))


class Absent:
    """An authority that cannot be asked for its roots."""

    def bundle(self, *_: object, **_named: object) -> bytes:
        """Never answers."""
        raise AuthorityError("cannot ask for the roots")


@contextmanager
def directory(bundles: dict[str, str], leaves: dict[str, tuple[str, str]]) -> Iterator[Path]:
    """A certs-dir with these bundles and pairs; the roots of the system, which hold PUBLIC alone, beside it."""
    base = Path(tempfile.mkdtemp(prefix="certagent-test-"))
    certs = base / "certs"
    certs.mkdir(mode=0o700)
    (base / "roots.pem").write_bytes(ca(PUBLIC).cert)
    try:
        for stem, content in bundles.items():
            if content == "directory":
                (certs / f"{stem}.crt").mkdir()
            elif content == "outside":
                (certs / f"{stem}.crt").symlink_to(base / "nowhere")
            else:
                known = b"".join(ca(n).cert for n in (HOUSE, OTHER) if n in content)
                (certs / f"{stem}.crt").write_bytes(known or b"rubbish")
        for stem, (name, usages) in leaves.items():
            put(certs, stem, pair_of(stem, name, usages))
        yield certs
    finally:
        shutil.rmtree(base)


def scanned(path: Path, policy: Policy) -> Snapshot:
    """What the agent sees: the live pairs with their verdicts, and those that are staged with theirs."""
    scanner = Scanner()
    roots = system_roots.load(policy.roots)
    scanner.verdicts.roots, scanner.verdicts.split = lambda: roots, policy.split
    scan = scanner.scan(str(path), now())
    known = Snapshot(scan.directory, scan.pairs, scan.unmanaged_files)
    return Staging(Store(str(path)), str(path)).add(known, policy, roots, now())


def checked(path: Path, policy: Policy) -> dict[str, Trust | None]:
    """The verdicts of `check -c`."""
    scan = load(str(path), now(), Runner(0, 0, (0,)), configured_roots=policy.roots, split=policy.split)
    return {p.name.stem: p.trust for p in scan.pairs if not p.name.is_bundle}


def tried(policy: Policy, stem: str, pair: tuple[bytes, bytes]) -> str:
    """The step at which `authority test` fails with such an answer, "" for none."""
    want = policy.want(stem)
    assert want is not None
    try:
        accepted(want, *keyed(pair), trust_store(Absent(), policy, want, now()), now())  # type: ignore[arg-type]
    except StepError as error:
        return error.step
    return ""


CONTENTS = st.sampled_from([HOUSE, OTHER, f"{HOUSE} {OTHER}", "rubbish", "directory", "outside"])
LEAF = st.tuples(st.sampled_from([HOUSE, HOUSE, OTHER, PUBLIC]), st.sampled_from(["sc", "sc", "s", "c"]))
DIRECTORIES = st.tuples(
    st.dictionaries(st.sampled_from(BUNDLES), CONTENTS), st.dictionaries(st.sampled_from(STEMS), LEAF, max_size=4)
)


@settings(deadline=None, max_examples=40)
@given(DIRECTORIES, st.booleans())
@example(({"ca": HOUSE, "ca-client": OTHER}, {"node": (HOUSE, "sc")}), False)
@example(({"ca": HOUSE, "ca-client": OTHER}, {"node": (HOUSE, "sc")}), True)
@example(({"ca": HOUSE, "ca-client": "rubbish"}, {"client.root": (HOUSE, "c")}), False)
@example(({"ca": HOUSE, "ca-client": "directory"}, {"client.root": (HOUSE, "c")}), False)
@example(({"ca": HOUSE, "ca-client": "outside"}, {"client.root": (HOUSE, "c")}), False)
@example(({"ca": HOUSE}, {"ui": (PUBLIC, "s")}), False)
@example(({}, {"ui": (PUBLIC, "s")}), False)
@example(({"ca": HOUSE}, {"client-tenant.7": (HOUSE, "c")}), False)
def test_verify_scan_gate_check_and_trial_agree(
    made: tuple[dict[str, str], dict[str, tuple[str, str]]], split: bool
) -> None:
    """A scan, the pre-install checks, `check -c` and `authority test` agree on every pair of a generated directory."""
    bundles, leaves = made
    with directory(bundles, leaves) as path:
        policy = policy_of(path, split=split)
        for stem, (name, usages) in leaves.items():
            Store(str(path)).stage(stem, *keyed(pair_of(stem, name, usages)))
        seen, by_check = scanned(path, policy), checked(path, policy)
        document = check(Target(policy, LoaderFlags(), 0, (0,)))
        live = {p.name.stem: p.trust for p in seen.pairs if not p.name.is_bundle}
        assert live == by_check
        for staged in seen.staged:
            stem, want = staged.pair.name.stem, policy.want(staged.pair.name.stem)
            if want is None:
                continue
            assert staged.pair.trust == live[stem]
            refused = refusal(want, staged, None, asked=True, now=now()) is not None
            wrong = {f["code"] for f in document["findings"] if f["file"] == f"{stem}.crt"}
            trust = staged.pair.trust  # an unusable bundle is one finding of its own, whatever it would have to verify
            spoilt = trust is not None and f"{trust.bundle}.crt" in {f["file"] for f in document["findings"]}
            told = bool(wrong & {"cert.untrusted", "cert.eku"}) or bool(trust and trust.problem and spoilt)
            assert refused == told, (stem, wrong)
            step = tried(policy, stem, pair_of(stem, *leaves[stem]))
            assert (step == "chain") == bool(live[stem] and live[stem].problem)  # type: ignore[union-attr]
            assert bool(step) == refused


def test_dual_purpose_node_not_verified_by_live_client_ca_is_refused(tmp_path: Path) -> None:
    """Without client.node a node.crt is a client too: where the live ca-client.crt does not verify it, it stays out."""
    path = tmp_path / "certs"
    house = filled(path, "node")
    (path / "ca-client.crt").write_bytes(make_ca("clients").cert)
    policy = replace_wants(policy_of(path, split=False), NODE)
    Store(str(path)).stage("node", *keyed(house.pair("node", days=60)))
    seen = scanned(path, policy)
    assert seen.staged[0].pair.trust is not None
    assert (seen.staged[0].pair.trust.bundle, bool(seen.staged[0].pair.trust.problem)) == ("ca-client", True)
    plan = decide(policy, seen, now())
    assert [a.stem for a in plan.actions if isinstance(a, Install)] == []
    assert ["not trusted by ca-client.crt" in a.reason for a in plan.actions if isinstance(a, RejectStaged)] == [True]


def replace_wants(policy: Policy, *names: Name) -> Policy:
    """The policy with the wants of these names alone."""
    return replace(policy, wants=tuple(w for w in policy.wants if w.name in names))


def test_check_of_configuration_uses_roots_of_ui(tmp_path: Path) -> None:
    """`[certs_dir.file.ui] roots` verifies ui.crt for `check -c` as for the agent; other roots are a finding."""
    path = tmp_path / "certs"
    filled(path, "node", "client.root", "client-tenant.7")
    put(path, "ui", pair_of("ui", PUBLIC, "s"))
    findings = []
    for roots in (PUBLIC, OTHER):
        (tmp_path / "roots.pem").write_bytes(ca(roots).cert)
        document = check(Target(policy_of(path, split=False), LoaderFlags(), 0, (0,)))
        findings.append([f["code"] for f in document["findings"] if f["file"] == "ui.crt"])
    assert findings == [[], ["cert.untrusted"]]


def test_bundle_missing_is_installed_despite_ui_of_public_ca(tmp_path: Path) -> None:
    """A ui.crt that the system's roots verify does not stop the ca.crt that is missing."""
    path = tmp_path / "certs"
    filled(path, "node")
    house = (path / "ca.crt").read_bytes()
    (path / "ca.crt").unlink()
    put(path, "ui", pair_of("ui", PUBLIC, "s"))
    (tmp_path / "roots.pem").write_bytes(ca(PUBLIC).cert)
    policy = policy_of(path, split=False)
    with_ca = (*policy.wants, Want(named("ca"), (HOUSE,)))
    Store(str(path)).stage("ca", house, None)
    assert [s.breaks for s in scanned(path, replace(policy, wants=with_ca)).staged] == [()]


@pytest.mark.parametrize("bad", ["rubbish", "outside"])
def test_client_ca_unreadable_does_not_fall_back_to_ca(bad: str) -> None:
    """cockroach verifies by the ca-client.crt that exists, readable or not, never by ca.crt instead."""
    with directory({"ca": HOUSE, "ca-client": bad}, {"client.root": (HOUSE, "c")}) as path:
        trust = {p.name.stem: p.trust for p in scanned(path, policy_of(path, split=False)).pairs}["client.root"]
    assert trust is not None
    assert (trust.bundle, "cannot be read" in str(trust.problem)) == ("ca-client", True)


def test_system_roots_are_read_only_if_needed(tmp_path: Path) -> None:
    """A directory whose ui.crt is of its own CA does not read the system's roots."""
    path = tmp_path / "certs"
    filled(path, "node", "ui")
    scanner, asked = Scanner(), []
    scanner.verdicts.roots = partial(noted, asked)
    scanner.scan(str(path), now())
    assert asked == []
    put(path, "ui", pair_of("ui", PUBLIC, "s"))
    scanner.scan(str(path), now())
    assert asked == [1]


def noted(asked: list[int]) -> Any:
    """Roots that say that they were asked for."""
    asked.append(1)
    return system_roots.Roots(("", 0, 0, 0), ca(PUBLIC).cert)


@pytest.mark.parametrize("name", ["another root", "old root"])
def test_cross_signed_chain_is_verified_by_old_root(name: str) -> None:
    """A leaf of a new root, with that root below the old one: a bundle of the old root alone verifies it, by the old.

    The two may have the same subject, as every CA of `cockroach cert create-ca` has.
    """
    old, new = make_ca("old root"), make_ca(name)
    leaf, key = new.pair()
    for above, problem in ((cross_signed(new.cert, old), None), (b"", "the signature on|is not in the bundle")):
        fact = x509.parse_certificates(leaf)[0]
        store = TrustStore(bundles={"ca": old.cert}, roots=lambda: None, split=False)
        found = trust(NODE, fact, leaf + above, store, now())
        assert found is not None
        if problem is None:
            assert (found.problem, found.anchors) == (None, (x509.parse_certificates(old.cert)[0].spki,))
            assert x509.handshake(leaf + above, key, server_roots=old.cert, client_roots=old.cert) is None
        else:
            assert re.search(problem, found.problem or "")
