"""What is done with private keys: by a child for the daemon, and by processes that live for one command themselves.

Each operation gets values that JSON can carry, and the descriptors of files: those of the keys that it reads, and of
one that it fills. Bytes are text in which each character is a byte.
"""

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from certagent import x509

LIMIT = 1 << 20
Given = dict[str, Any]
Operation = Callable[[Given, list[int]], Any]


def perform(name: str, given: Given, files: list[int]) -> Given:
    """Carry out one operation; what is wrong with a key or a request is part of the result."""
    try:
        return {"result": OPERATIONS[name](given, files)}
    except x509.X509Error as error:
        return {"kind": error.kind, "problem": error.message}
    except ValueError as error:
        return {"kind": "", "problem": str(error)}


def text_of(data: bytes | None) -> str | None:
    """Given bytes, return them as text; None for None."""
    return None if data is None else data.decode("latin-1")


def bytes_of(text: str | None) -> bytes | None:
    """Given such a text, return its bytes; None for None."""
    return None if text is None else text.encode("latin-1")


def _read(fd: int) -> bytes:
    """All of a file, whatever was read of it before."""
    data = b""
    while len(data) <= LIMIT and (part := os.pread(fd, LIMIT + 1 - len(data), len(data))):
        data += part
    return data


def _fill(fd: int, data: bytes) -> None:
    """Replace what a file has."""
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)


def _examined(_given: Given, files: list[int]) -> Given:
    """Digest of the file, and of the public half, whose name is said too; or what is wrong with it."""
    data = _read(files[0])
    digest = sha256(data).hexdigest()
    try:
        spki, kind = x509.parse_key(data)
    except x509.X509Error as error:
        return {"digest": digest, "spki": None, "kind": "", "problem": str(error)}
    return {"digest": digest, "spki": spki, "kind": kind, "problem": ""}


def _drafted(given: Given, files: list[int]) -> str | None:
    key = x509.generate_key(given["key"])
    csr = _csr(given, key)
    _fill(files[0], key)
    return csr


def _requested(given: Given, files: list[int]) -> str | None:
    return _csr(given, _read(files[0]))


def _csr(given: Given, key: bytes) -> str | None:
    names = tuple(given["names"])
    made = x509.make_csr(key, given["common_name"], names, challenge=given["challenge"], unit=given["unit"])
    return text_of(made)


def _handshake(given: Given, files: list[int]) -> str | None:
    roots = {name: bytes_of(given[name]) for name in ("server_roots", "client_roots")}
    return x509.handshake(bytes_of(given["certs"]) or b"", _read(files[0]), **roots)


def _paired(given: Given, files: list[int]) -> None:
    """Certificate and key in one file, as TLS libraries read them."""
    _fill(files[1], x509.pair_pem(bytes_of(given["certs"]) or b"", _read(files[0])))


def _ca(given: Given, files: list[int]) -> str | None:
    lifetime, now = timedelta(seconds=given["lifetime"]), datetime.fromisoformat(given["now"])
    cert, key = x509.make_ca(given["common_name"], lifetime, now, given["key"])
    _fill(files[0], key)
    return text_of(cert)


def _signed(given: Given, files: list[int]) -> str | None:
    begin, end = (datetime.fromisoformat(given[name]) for name in ("not_before", "not_after"))
    leaf = x509.sign_csr(
        bytes_of(given["csr"]) or b"",
        bytes_of(given["ca_cert"]) or b"",
        _read(files[0]),
        server=given["server"],
        client=given["client"],
        not_before=begin,
        not_after=end,
        urls=(given["urls"][0], given["urls"][1]),
    )
    return text_of(leaf)


def _proof(given: Given, files: list[int]) -> str:
    return x509.sign_jws(_read(files[0]), given["header"], given["claims"])


def _led(given: Given, _files: list[int]) -> list[str]:
    """What a stranger served is read here, in a child that never has a key."""
    served = [bytes_of(der) or b"" for der in given["served"]]
    bundle = bytes_of(given["bundle"]) or b""
    return list(x509.led_to(served, bundle, datetime.fromisoformat(given["at"])))


OPERATIONS: dict[str, Operation] = {
    "examine": _examined,
    "draft": _drafted,
    "request": _requested,
    "handshake": _handshake,
    "pair": _paired,
    "ca": _ca,
    "sign": _signed,
    "proof": _proof,
    "led": _led,
}
