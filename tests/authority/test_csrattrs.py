"""What an EST server wants in a request: DER of a stranger."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certagent.authority.backends.csrattrs import dotted, wanted_keys
from tests.servers.est import CSRATTRS

RSA = bytes.fromhex("3015 3013 06092a864886f70d010101 3106 02020800 0500")
ROWS = [
    ("a curve, and what is not understood", CSRATTRS, ("ecdsa-p384",)),
    ("a size of RSA", RSA, ("rsa-2048",)),
    ("object identifiers alone", bytes.fromhex("300b 06092a864886f70d010907"), ()),
    ("nothing", bytes.fromhex("3000"), ()),
]
BAD = ["", "05", "0500", "3005", "300206", "30020602", "3080", "30850000000000", "300a30080601813103 06012a"]


@pytest.mark.parametrize(("label", "der", "keys"), ROWS, ids=[r[0] for r in ROWS])
def test_csrattrs_key_types_are_read(label: str, der: bytes, keys: tuple[str, ...]) -> None:
    """The key types are read, as the configuration spells them; everything else is ignored."""
    assert keys == wanted_keys(der), label


@pytest.mark.parametrize("der", BAD)
def test_csrattrs_not_der_is_value_error(der: str) -> None:
    """Bytes that are not DER raise ValueError and nothing else."""
    with pytest.raises(ValueError, match=r"."):
        wanted_keys(bytes.fromhex(der))


@given(st.binary(max_size=60))
def test_csrattrs_any_bytes_answer_or_value_error(der: bytes) -> None:
    """Any bytes give an answer or a ValueError."""
    with suppress(ValueError):
        assert isinstance(wanted_keys(b"\x30" + bytes([len(der)]) + der), tuple)


def test_csrattrs_object_identifiers() -> None:
    """The first octet encodes two arcs, long arcs take several octets."""
    assert "1.2.840.10045.2.1" == dotted(bytes.fromhex("2a8648ce3d0201"))
    assert "2.999" == dotted(bytes.fromhex("8837"))
