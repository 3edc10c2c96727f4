"""Addresses of members: one spelling for each, with a port, or a reason why it is none."""

import pytest

from certagent.core.addresses import address, joined, parted

GOOD = {
    "db2": "db2:26257",
    "db2:26258": "db2:26258",
    "DB2.Example.COM.": "db2.example.com:26257",
    "10.0.0.5": "10.0.0.5:26257",
    "10.0.0.5:1": "10.0.0.5:1",
    "db_2:65535": "db_2:65535",
    "[2001:DB8::2]:26258": "[2001:db8::2]:26258",
    "[2001:db8:0:0::2]": "[2001:db8::2]:26257",
    "2001:db8::2": "[2001:db8::2]:26257",
    "::1": "[::1]:26257",
}
BAD = [
    "",
    ":26257",
    "db2:",
    "db2:0",
    "db2:65536",
    "db2:x",
    "db2:026257",
    "db2:-1",
    "db2:26257/sql",
    "postgres://db2",
    "db 2",
    "db2,db3",
    "db..2",
    "-db2",
    "1.2.3",
    "1.2.3.4.5:1",
    "0.0.0.0:26257",
    "::",
    "[::]:26257",
    "[::1",
    "[::1]26257",
    "[db2]:26257",
    "[::1]:",
    "::1:zz",
    "a" * 254,
    "db\u0662",
    "db2:\u0662\u0666",
]


@pytest.mark.parametrize("text", GOOD)
def test_address_has_one_spelling(text: str) -> None:
    """Case, a final dot, forms of IPv6 and the default port make no other member; written again it stays."""
    assert address(text) == GOOD[text]
    assert address(GOOD[text]) == GOOD[text]
    assert joined(*parted(GOOD[text])) == GOOD[text]


@pytest.mark.parametrize("text", BAD)
def test_address_that_nobody_can_dial_is_refused(text: str) -> None:
    """What is no host and port is an error with a reason."""
    with pytest.raises(ValueError, match=r"."):
        address(text)


def test_address_parts() -> None:
    """Without brackets, as a resolver takes it."""
    assert parted("[::1]:26257") == ("::1", 26257)
    assert parted("db2:1") == ("db2", 1)
