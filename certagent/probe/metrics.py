"""What `/_status/vars` tells of certificates and of the version. Each byte is read once, whatever a server sends.

No pattern has a quantifier without a bound: one that may begin at each of a million bytes and run on to the end of the
answer takes hours.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

EXPIRY = b"security_certificate_expiration_node_client"
CA_EXPIRY = b"security_certificate_expiration_ca"
ROTATION = b"security_certificate_last_rotation_"
BUILD = b"build_timestamp"
LIVE = b"liveness_livenodes"
LABEL = re.compile(r"[a-z_]{1,40}")
VALUE = re.compile(rb"[0-9.e+]{1,40}")
TAG = re.compile(rb'(?:^|[^A-Za-z0-9_])tag="v([0-9]{1,3})\.([0-9]{1,3})[.-]')
LONGEST = 1000  # of labels that are read
MOST_ROTATIONS = 64
LAST_MOMENT = 1 << 36  # the year 4147
MOST_NODES = 1 << 20


class Metrics(NamedTuple):
    """What `/_status/vars` tells: the expiry of `client.node`, when reloads changed files, the version, live nodes.

    And the end of the first certificate of `ca.crt`.
    """

    expiry: int = 0
    rotations: tuple[tuple[str, int], ...] = ()
    release: tuple[int, int] | None = None
    live: int | None = None
    ca_ends: int = 0


def metrics_in(text: bytes) -> Metrics:
    """Given an answer, return what it tells; a line that is not a sample is passed over."""
    expiry, ca_ends, release, live = 0, 0, None, None
    rotations: dict[str, int] = {}
    for name, labels, value in samples(text):
        if name == EXPIRY:
            expiry = expiry or value
        elif name == CA_EXPIRY:
            ca_ends = ca_ends or value
        elif name == BUILD:
            release = release or release_in(labels)
        elif name == LIVE:
            live = value if live is None and value < MOST_NODES else live
        elif value and len(rotations) < MOST_ROTATIONS:
            rotations[name.removeprefix(ROTATION).decode()] = value
    return Metrics(expiry, tuple(sorted(rotations.items())), release, live, ca_ends)


def samples(text: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Name, labels and value of each line that is of interest."""
    for line in text.split(b"\n"):
        if not line.startswith((EXPIRY, CA_EXPIRY, ROTATION, BUILD, LIVE)):
            continue
        head, _, value = line.rstrip().rpartition(b" ")
        name, brace, labels = head.partition(b"{")
        label = name.removeprefix(ROTATION).decode("ascii", "replace") if name.startswith(ROTATION) else ""
        known = name in {EXPIRY, CA_EXPIRY, BUILD, LIVE} or LABEL.fullmatch(label)
        if known and VALUE.fullmatch(value) and (not brace or labels.endswith(b"}")):
            yield name, labels[:LONGEST], number(value)


def release_in(labels: bytes) -> tuple[int, int] | None:
    """Major and minor version of the tag."""
    found = TAG.search(labels)
    return (int(found[1]), int(found[2])) if found else None


def number(digits: bytes) -> int:
    """A moment in seconds since 1970; 0 where it is none."""
    with suppress(ValueError, OverflowError):
        found = int(float(digits))
        return found if found < LAST_MOMENT else 0
    return 0
