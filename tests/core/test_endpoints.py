"""Which URLs a CA may be asked at: rows of a URL, the setting, and whether it is allowed."""

import pytest

from certagent.core.endpoints import barred

URLS = [
    ("https://ca.example.com/acme", False, ""),
    ("HTTPS://ca.example.com", False, ""),
    ("http://127.0.0.1:8080/", False, ""),
    ("http://[::1]:8080/", False, ""),
    ("http://localhost/", False, ""),
    ("http://127.9.9.9/", False, ""),
    ("http://ca.example.com/", True, ""),
    ("http://ca.example.com/", False, "allow_http"),
    ("http://10.0.0.5/", False, "allow_http"),
    ("http://localhost.example.com/", False, "allow_http"),
    ("ftp://ca.example.com/", True, "not https"),
    ("ca.example.com", True, "not https"),
    ("https:///directory", True, "not https"),
]


@pytest.mark.parametrize(("url", "allow_http", "words"), URLS)
def test_url_of_ca_is_https_or_loopback(url: str, words: str, *, allow_http: bool) -> None:
    """https anywhere; plain http on loopback only, unless `allow_http` says otherwise; nothing else."""
    found = barred(url, allow_http=allow_http)
    assert words in found
    assert bool(words) == bool(found)
