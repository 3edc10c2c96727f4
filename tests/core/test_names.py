"""File names, as cockroach's loader reads them."""

import pytest

from certagent.core.names import Name, Unknown, parse
from certagent.core.roles import Role


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("ca", Name(Role.CA)),
        ("ca-client", Name(Role.CA_CLIENT)),
        ("node", Name(Role.NODE)),
        ("ui", Name(Role.UI)),
        ("client.root", Name(Role.CLIENT, "root")),
        ("client.root.bak", Name(Role.CLIENT, "root.bak")),
        ("client....a.b...crt", Name(Role.CLIENT, "...a.b...crt")),
        ("client-tenant.7", Name(Role.TENANT, "7")),
    ],
)
def test_file_names_that_cockroach_loads(stem: str, expected: Name) -> None:
    """Everything between `client.` and the ending is the user, dots included."""
    assert expected == parse(stem)
    assert stem == expected.stem


@pytest.mark.parametrize(
    "stem", ["node.foo", "node.", "ca.client", "client", "client.", "ui.x", "random", "", ".node", "client.a/b"]
)
def test_file_names_that_cockroach_refuses_or_ignores(stem: str) -> None:
    """Extra parts, empty users and unknown prefixes are not names."""
    assert isinstance(parse(stem), Unknown)
