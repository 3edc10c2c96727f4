"""Where the pages are that certagent names."""

from pathlib import Path

import pytest

from certagent.posix.manual import PAGE, manual


@pytest.mark.parametrize(
    ("checkout", "package", "found"),
    [(False, True, "{base}/share/"), (True, True, ""), (True, False, ""), (False, False, "")],
)
def test_manual_is_where_the_package_put_it(tmp_path: Path, found: str, *, checkout: bool, package: bool) -> None:
    """In a checkout the pages are named from its root; an image whose packages have no documentation has no path."""
    for name, there in (("src", checkout), ("share", package)):
        (tmp_path / name / "docs").mkdir(parents=True)
        if there:
            (tmp_path / name / PAGE).write_text("# certagent")
    assert manual(f"{tmp_path}/src/", f"{tmp_path}/share/") == found.format(base=tmp_path)


def test_manual_of_this_checkout_has_no_prefix() -> None:
    """The tests run in one, whatever the host has installed."""
    assert manual() == ""
