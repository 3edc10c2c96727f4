"""The size of what an authority sends, by whatever way it comes to the agent."""

import pytest

from certagent.authority.client.pinned import LARGEST, certificates
from certagent.authority.errors import AuthorityError
from tests.making import make_ca


def test_answer_longer_than_a_certificate_file_is_refused() -> None:
    """It could never be read back from the staging area, and the agent does not parse it: not even where it is good."""
    good = make_ca().cert.decode()
    assert len(certificates("pki", good)) == 1
    with pytest.raises(AuthorityError, match="over 1048576 bytes") as caught:
        certificates("pki", good + "\n" * LARGEST)
    assert caught.value.kind == "malformed"
