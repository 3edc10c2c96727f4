"""Load whole libraries before a process becomes another user, to whom the interpreter may be closed (/root is 0700).

Libraries import parts of themselves at first use: cryptography from its compiled part, dnspython one module for each
type of record. Rejected: a list of those parts, which is out of date with the next version of a library.
"""

import importlib
import pkgutil
from contextlib import suppress

LATE = (
    "encodings.idna",
    "encodings.latin_1",
    "encodings.ascii",
    "encodings.utf_16_be",
    "encodings.utf_32_be",
    "encodings.unicode_escape",
    "encodings.punycode",
    "stringprep",
    "unicodedata",
    "http.client",
    "urllib3",
    "email.parser",
    "ipaddress",
    "_strptime",
)


def load_whole(*packages: str) -> None:
    """Import these packages with all their modules, and what the standard library imports at first use.

    A module that this machine cannot import, for what it needs is not there, could not be imported later either.
    """
    for name in LATE:
        importlib.import_module(name)
    for package in packages:
        for found in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            with suppress(ImportError):
                importlib.import_module(found.name)
