"""What the kernel's words on a file mean for a rename over it, and which entries a hung mount is tried by."""

import pytest

from certagent.posix.flags import Fixed, fixed_by
from certagent.posix.toucher import worth_opening


@pytest.mark.parametrize(("attributes", "entry", "itself"), [
    (0x0, "", ""),
    (0x10, "immutable", "immutable"),
    (0x20, "append-only", "append-only"),
    (0x30, "immutable", "immutable"),
    (0x2000, "mount point", ""),
    (0x2020, "append-only", "append-only"),
    (0x804, "", ""),  # compressed and encrypted
])  # fmt: skip
def test_flags_that_forbid_a_rename(attributes: int, entry: Fixed, itself: Fixed) -> None:
    """The first of three; that the directory itself is a mount point forbids nothing inside it."""
    assert (entry, itself) == (fixed_by(attributes, itself=False), fixed_by(attributes, itself=True))


@pytest.mark.parametrize(("name", "regular", "opened"), [
    (b"node.key", True, True), (b"node.key", False, False), (b".certagent", False, True), (b"old", False, False),
])  # fmt: skip
def test_toucher_opens_what_the_agent_opens(name: bytes, *, regular: bool, opened: bool) -> None:
    """Regular files and the staging area; another directory is not entered."""
    assert worth_opening(name, regular=regular) is opened
