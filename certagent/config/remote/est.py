"""`type = "est"`: RFC 7030."""

import re
from collections.abc import Iterator
from typing import Any

from certagent.config.reader import flag, one_of, takes, text
from certagent.config.remote import CaType, RemoteConfig, Setting, Traits, url

PREFIX = "/.well-known/est"  # of every operation; the URL may end with it
LABEL = re.compile(r"[A-Za-z0-9._~-]*")


@takes({"type": "string", "pattern": f"^{LABEL.pattern}$"})
def label(value: Any) -> str:
    """An additional path segment (RFC 7030, section 3.2.2)."""
    found = text(value)
    if not LABEL.fullmatch(found):
        raise ValueError("must be one path segment: letters, digits and . _ ~ -")
    return found


def problems(made: RemoteConfig) -> Iterator[tuple[str, str]]:
    """What is wrong between the settings: (key, sentence)."""
    if f"{PREFIX}/" in made.options["url"]:
        yield "url", f"write it without what follows {PREFIX}; a label is the setting `label`"
    if bool(made.options["username"]) != ("password" in made.secrets):
        yield "password", "username and password belong together"
    elif not made.options["username"] and not made.client_cert:
        yield "client_cert", "no credential: set client_cert and client_key, or username and password"


def traits(made: RemoteConfig) -> Traits:
    """What the daemon must know of one."""
    return Traits(by_leaf=made.options["credential"] == "leaf", challenge=made.secrets.get("challenge", ""))


CA_TYPE = CaType(
    asked="https",
    account=False,
    problems=problems,
    traits=traits,
    settings={
        "url": Setting(url, "", required=True),
        "label": Setting(label, ""),
        "username": Setting(text, ""),
        "password": Setting(text, "", secret=True),
        "challenge": Setting(text, "", secret=True),  # a challengePassword in the request itself
        "credential": Setting(one_of("enrolment", "leaf"), "enrolment"),
        "csrattrs": Setting(flag, False),
    },
)
