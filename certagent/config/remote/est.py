"""`type = "est"`: RFC 7030."""

import re
from typing import Any

from certagent.config.reader import flag, one_of, text
from certagent.config.remote import Setting, url

LABEL = re.compile(r"[A-Za-z0-9._~-]*")


def label(value: Any) -> str:
    """An additional path segment (RFC 7030, section 3.2.2)."""
    found = text(value)
    if not LABEL.fullmatch(found):
        raise ValueError("one path segment: letters, digits, and . _ ~ -")
    return found


SETTINGS = {
    "url": Setting(url, "", required=True),
    "label": Setting(label, ""),
    "username": Setting(text, ""),
    "password": Setting(text, "", secret=True),
    "credential": Setting(one_of("enrolment", "leaf"), "enrolment"),
    "csrattrs": Setting(flag, False),
}
