"""The documents as a site."""

import re

import pytest

from tests.packages.building import Clone, run

pytestmark = [pytest.mark.slow, pytest.mark.real, pytest.mark.root]


def test_site_has_every_page_and_fetches_nothing(clone: Clone) -> None:
    """mkdocs accepts each link (--strict); each document is a page; no page needs anything from another host."""
    run("make", "-C", clone.path, "site")
    docs, site = clone.path / "docs", clone.path / "build" / "site"
    pages = {p.relative_to(docs).with_suffix(".html") for p in docs.rglob("*.md")}
    assert pages - {p.relative_to(site) for p in site.rglob("*.html")} == set()
    fetched = r"<(?:script|img|iframe)[^>]+src=\"https?:|<link[^>]+rel=\"(?:stylesheet|preconnect)\"[^>]+href=\"https?:"
    assert [p for p in pages if re.search(fetched, (site / p).read_text())] == []
