"""The table of roles: what each row says, and that the rows agree with each other."""

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import certagent
from certagent.core.names import stem_of
from certagent.core.roles import BUNDLES, BY_STEM, KINDS, Role, Use
from tests.core.building import name_of
from tests.parsing import nodes

ONE_OF_EACH = (*BY_STEM, "client.root", "client-tenant.7", "tenant-signing.7")


def test_roles_each_have_a_row() -> None:
    """A role without a row would have no kind; the last row of a role is that of any further part."""
    assert set(Role) == {k.role for k in KINDS}
    assert [] == [k for k in KINDS if bool(k.stem) == bool(k.part) and k.stem != "client.node"]


def test_roles_row_follows_name() -> None:
    """A name has the row of its own stem, else that of its role."""
    assert {*KINDS} == {name_of(stem).kind for stem in ONE_OF_EACH}
    assert name_of("client.node").kind != name_of("client.root").kind == name_of("client.a.b").kind


def test_roles_rows_name_bundles_of_the_table() -> None:
    """Each leaf is verified by bundles, the most general one last; a bundle by none."""
    for kind in KINDS:
        assert {*kind.verified_by} <= {*BUNDLES}
        assert kind.verified_by[-1:] in {("ca",), ()}
        assert not (kind.bundle and (kind.verified_by or kind.asked_as or kind.principal))
        assert bool(kind.verified_by) == bool(kind.verified_as)


def test_roles_rows_ask_for_usages_that_peers_verify() -> None:
    """No certificate is asked for that lacks a usage by which its peers verify it."""
    assert all({*k.verified_as} <= {*k.asked_as} for k in KINDS)


def test_roles_required_files_come_first() -> None:
    """A node that cannot start reports the missing file before one that is refused."""
    order = [k.at_start for k in KINDS if k.at_start]
    assert [] == [(a, b) for a, b in pairwise(order) if (a, b) == ("sound", "required")]


VERIFIERS = [
    ("node", {"ca", "ca-client"}, ("ca",)),
    ("client.a.b", {"ca"}, ("ca",)),
    ("client.a.b", {"ca", "ca-client"}, ("ca-client",)),
    ("ui", {"ca", "ca-client"}, ("ca", "system")),
    ("ui", {"ca", "ca-ui"}, ("ca-ui",)),
    ("client-tenant.5", {"ca", "ca-client", "ca-client-tenant"}, ("ca-client-tenant",)),
    ("client-tenant.5", {"ca", "ca-client"}, ("ca-client",)),
    ("client-tenant.5", {"ca"}, ("ca",)),
    ("tenant-signing.5", {"ca"}, ()),
    ("ca-client", {"ca"}, ()),
]


@pytest.mark.parametrize(("stem", "present", "expected"), VERIFIERS)
def test_roles_bundle_fallback_order(stem: str, present: set[str], expected: tuple[str, ...]) -> None:
    """cockroach's fallbacks: the most specific bundle that exists; browsers know the system's roots, too."""
    kind = name_of(stem).kind
    assert expected == kind.bundles_in(frozenset(present))
    assert "".join(expected[:1]) == kind.bundle_in(frozenset(present))


WHO = [
    ("node", (), False, [("ca", "server"), ("ca", "client")]),
    ("node", ("ca-client", "ca-ui"), False, [("ca", "server"), ("ca-client", "client")]),
    ("node", ("ca-client",), True, [("ca", "server")]),
    ("ui", ("ca-ui",), False, [("ca-ui", "server")]),
    ("ui", (), False, [("ca", "server")]),
    ("client.root", ("ca-client",), False, [("ca-client", "client")]),
    ("client-tenant.7", ("ca-client",), False, [("ca-client", "client")]),
    ("client-tenant.7", ("ca-client", "ca-client-tenant"), False, [("ca-client-tenant", "client")]),
    ("tenant-signing.7", (), False, []),
]


@pytest.mark.parametrize(("stem", "bundles", "split", "expected"), WHO)
def test_roles_verifiers_of_leaf_by_bundles_present(
    stem: str, bundles: tuple[str, ...], expected: list[tuple[str, str]], *, split: bool
) -> None:
    """Which bundle verifies a leaf as what; a dual-purpose node is a client too."""
    assert expected == list(name_of(stem).kind.verifiers(frozenset({"ca", *bundles}), split=split))


USES = [
    ("node", False, Use(server=True, client=True, principal="node"), Use(server=True, client=True, principal="node")),
    ("node", True, Use(server=True, client=False, principal=None), Use(server=True, client=False, principal=None)),
    ("ui", False, Use(server=True, client=False, principal=None), Use(server=True, client=False, principal=None)),
    ("client.a.b", True, Use(server=False, client=True, principal="a.b"), Use(False, True, "a.b")),
    ("client.node", True, Use(server=False, client=True, principal="node"), Use(False, True, "node")),
    ("client-tenant.7", True, Use(server=True, client=True, principal="7"), Use(False, True, None)),
    ("tenant-signing.7", True, Use(False, False, "Tenant 7 Token Signing Certificate"), Use(False, False, None)),
    ("ca-client", False, Use(server=False, client=False, principal=None), Use(False, False, None)),
]


@pytest.mark.parametrize(("stem", "split", "asked", "needed"), USES)
def test_roles_usages_and_principal_by_kind(stem: str, asked: Use, needed: Use, *, split: bool) -> None:
    """What a CA is asked for, and what cockroach insists on; without client.node a node is dual-purpose."""
    name = name_of(stem)
    assert (asked, needed) == (name.kind.asked(name.subject, split=split), name.kind.needed(name.subject, split=split))


BEHAVIOUR = [
    ("ca", True, False, "advertised", "required"),
    ("ca-client", True, False, "advertised", "sound"),
    ("ca-client-tenant", True, False, "advertised", "sound"),
    ("ca-ui", True, False, "sent", ""),
    ("node", True, False, "served", "required"),
    ("ui", True, False, "served", "sound"),
    ("client.node", True, False, "metric", "sound"),
    ("client.root", False, True, "accepted", ""),
    ("client-tenant.7", True, True, "accepted", ""),
    ("tenant-signing.7", True, False, "sent", ""),
]


@pytest.mark.parametrize(("stem", "loaded", "offered", "proof", "at_start"), BEHAVIOUR)
def test_roles_loaded_and_offered_files_by_kind(
    stem: str, proof: str, at_start: str, *, loaded: bool, offered: bool
) -> None:
    """Which files a server loads and requires at its start, which a probe offers, and how their use is verified."""
    kind = name_of(stem).kind
    assert (loaded, offered, proof, at_start) == (kind.loaded, kind.offered, kind.proof, kind.at_start)


def nodes_by_file() -> Iterator[tuple[str, ast.AST]]:
    root = Path(certagent.__file__).parent
    for path in sorted(root.rglob("*.py")):
        file = str(path.relative_to(root))
        yield from ((file, node) for node in nodes(path))


def test_roles_appear_only_in_the_table() -> None:
    """A new kind of file is a row: no other module branches on a role, apart from the names of single files."""
    found = {
        file
        for file, node in nodes_by_file()
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Role"
    }
    assert {"core/names.py", "core/roles.py"} == found


def test_file_names_appear_only_in_the_table() -> None:
    """No other module spells a stem that can only be a file's; the demo's stand-in for cockroach keeps its own list."""
    stems = {kind.stem for kind in KINDS if set(kind.stem) & set("-.")}
    found = {
        (file, node.value)
        for file, node in nodes_by_file()
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and stem_of(node.value) in stems
    }
    assert {file for file, _ in found if not file.startswith("demo/")} == {"core/roles.py"}
