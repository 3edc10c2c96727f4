"""The configurations of docs/authorities on the host of the tests."""

import os
import pwd
import tomllib
from typing import Any


def here(text: str) -> dict[str, Any]:
    """What a page shows, for a user that exists on this host."""
    document = tomllib.loads(text)
    for table in document["certs_dir"]:
        assert table["owner"] == "cockroach"
        table["owner"] = pwd.getpwuid(os.geteuid()).pw_name
    return document
