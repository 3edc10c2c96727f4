"""Files with a fault or two, from a fixed seed: what editors, copies and shells do to PEM and to the DER in it."""

import base64
import math
import random
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from certagent.x509.keys import load_key
from tests.verifying.chains import DAY, NOW, name_of

Mutation = Callable[[bytes, random.Random], bytes]
FORMS = (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL)
LABELS = (b"PRIVATE KEY", b"EC PRIVATE KEY", b"RSA PRIVATE KEY", b"ENCRYPTED PRIVATE KEY", b"ANY PRIVATE KEY")
LABELS += (b"PRIVATE KEYS", b"OPENSSH PRIVATE KEY", b"private key", b"XPRIVATE KEY", b" PRIVATE KEY", b"CERTIFICATE")
BLANKS = (b" ", b"\t", b"\r", b"\n", b"\r\n", b"\f", b"\v", b"\xc2\xa0", b"\0", b"\x85", b"\xef\xbb\xbf", b"=", b"-")


@lru_cache
def pairs() -> tuple[tuple[bytes, bytes], ...]:
    """Certificate and key of each kind that cockroach takes, the key in each form that tools write. Always the same.

    Three primes are among them, but never damaged: what Go looks for in such a key differs between its versions.
    """
    three = three_primes()
    return (
        *_of_two_primes_or_a_curve(),
        (certificate(load_key(three)), three),
    )


@lru_cache
def _of_two_primes_or_a_curve() -> tuple[tuple[bytes, bytes], ...]:
    return tuple(
        (certificate(private), private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
        for private in private_keys()
        for form in FORMS[: 1 if isinstance(private, ed25519.Ed25519PrivateKey) else 2]
    )


def private_keys() -> list[Any]:
    """ECDSA, Ed25519 and RSA keys from a seed."""
    rng = random.Random(7)
    curves: list[ec.EllipticCurve] = [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()]
    made: list[Any] = [ec.derive_private_key(rng.getrandbits(curve.key_size - 8), curve) for curve in curves]
    p, q = prime(rng), prime(rng)
    d = rsa.rsa_recover_private_exponent(65537, p, q)
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    made.append(rsa.RSAPrivateNumbers(p, q, d, *crt, rsa.RSAPublicNumbers(65537, p * q)).private_key())
    return [*made, ed25519.Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))]


def three_primes() -> bytes:
    """An RSA key of three primes as PKCS#1, which cryptography does not write."""
    rng = random.Random(8)
    p, q, r = (prime(rng) for _ in range(3))
    d = pow(65537, -1, math.lcm(p - 1, q - 1, r - 1))
    crt = (d % (p - 1), d % (q - 1), pow(q, -1, p))
    further = element(0x30, numbers(r, d % (r - 1), pow(p * q, -1, r)))
    der = element(0x30, numbers(1, p * q * r, 65537, d, p, q, *crt) + element(0x30, further))
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{text}-----END RSA PRIVATE KEY-----\n".encode()


def numbers(*values: int) -> bytes:
    """INTEGERs in DER, one after the other."""
    return b"".join(element(2, v.to_bytes(v.bit_length() // 8 + 1)) for v in values)


def element(tag: int, content: bytes) -> bytes:
    """One element in DER."""
    size = len(content)
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, size] if size < 128 else [tag, 0x80 | len(length), *length]) + content


def prime(rng: random.Random) -> int:
    """A prime of 1024 bits, as good as sure."""
    while True:
        number = rng.getrandbits(1024) | 3 << 1022 | 1
        if pow(2, number - 1, number) == 1 and (number - 1) % 65537:
            return number


def certificate(private: Any) -> bytes:
    """A certificate of that key, signed by itself."""
    digest = None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    name = name_of("node")
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, NOW, NOW + DAY)
    return builder.sign(private, digest).public_bytes(serialization.Encoding.PEM)


def lines_changed(data: bytes, rng: random.Random) -> bytes:
    """A line twice, gone, empty, joined with the next one or cut."""
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    changed = rng.choice([[lines[at]] * 2, [], [b"\n", lines[at]], [lines[at].rstrip()], [lines[at][:-9] + b"\n"]])
    return b"".join([*lines[:at], *changed, *lines[at + 1 :]])


def blank_added(data: bytes, rng: random.Random) -> bytes:
    """A byte that many readers pass over, somewhere."""
    at = rng.choice([0, len(data), rng.randrange(len(data)), data.rindex(b"-----END"), data.index(b"\n")])
    return data[:at] + rng.choice(BLANKS) * rng.choice([1, 1, 2]) + data[at:]


def line_ends(data: bytes, rng: random.Random) -> bytes:
    """Other ends of lines, on all or one."""
    return data.replace(
        b"\n", rng.choice([b"\r", b"\r\n", b"\n\n", b" \n", b"\r\r\n", b"\n ", b""]), rng.choice([1, 99])
    )


def headers(data: bytes, rng: random.Random) -> bytes:
    """Lines of headers, as bags and old tools write them."""
    head = rng.choice([b"Comment: x\n", b"Proc-Type: 4,ENCRYPTED\n\n", b"a:\n:b\n\n", b"x y\n", b"Name : v\r\n\r\n"])
    return data.replace(b"-----\n", b"-----\n" + head, 1)


def labels(data: bytes, rng: random.Random) -> bytes:
    """Another label at both ends, or at one."""
    old = data[11 : data.index(b"-----\n")]
    return data.replace(old, rng.choice(LABELS), rng.choice([1, 2]))


def around(data: bytes, rng: random.Random) -> bytes:
    """Something before, after or around it."""
    other = rng.choice([b"words\n", b"words ", b"Bag Attributes\n    x: y\n", pairs()[0][0], b"-----BEGIN X-----\n"])
    return rng.choice([other + data, data + other, data.rstrip() + other, other + data + other])


def letters(data: bytes, rng: random.Random) -> bytes:
    """One byte is another."""
    at = rng.randrange(len(data))
    return data[:at] + bytes([rng.choice(b"AZaz09+/=-: \n\r\t\0\xff")]) + data[at + 1 :]


def inside(data: bytes, rng: random.Random) -> bytes:
    """One byte of the DER is another, is gone, or comes twice."""
    begin, end = data.index(b"-----\n") + 6, data.rindex(b"\n-----END")
    der = base64.b64decode(data[begin:end])
    at = rng.choice([rng.randrange(len(der)), rng.randrange(min(40, len(der))), len(der) - 1])
    changed = rng.choice([bytes([rng.randrange(256)]), bytes([der[at] ^ 1]), b"", der[at : at + 1] * 2])
    return data[:begin] + base64.encodebytes(der[:at] + changed + der[at + 1 :]).rstrip() + data[end:]


MUTATIONS: tuple[Mutation, ...] = (lines_changed, blank_added, line_ends, headers, labels, around, letters, inside)


def mutated(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The file with one to three faults, and their names; a fault that does not apply is left out."""
    said = []
    for mutation in rng.choices(MUTATIONS, k=rng.choice([1, 1, 2, 3])):
        try:
            data = mutation(data, rng)
            said.append(mutation.__name__)
        except ValueError:
            continue
    return "+".join(said), data


def keys(count: int, seed: int) -> Iterator[tuple[str, bytes, bytes]]:
    """So many mutated key files, each with what was done and its certificate."""
    rng = random.Random(seed)
    for _ in range(count):
        cert, key = rng.choice(_of_two_primes_or_a_curve())
        label, changed = mutated(key, rng)
        yield label, cert, changed


def damaged(der: bytes, rng: random.Random) -> bytes:
    """DER with a byte or two changed, cut out or doubled; most of it outside of the signature."""
    for _ in range(rng.choice([1, 1, 1, 2])):
        at = rng.randrange(len(der) - 70)
        other = bytes([rng.choice(b"\x0c\x13\x14\x16\x1e\x17\x18\x02\x03\x04\x30\x31\x82\x86\x87\xa0:/[]%@. ")])
        flipped = bytes([der[at] ^ (1 << rng.randrange(8))])
        der = der[:at] + rng.choice([other, flipped, flipped, b"", der[at : at + 1] * 2]) + der[at + 1 :]
    return der


def certificates(seeds: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """So many damaged certificates as PEM."""
    rng = random.Random(seed)
    for _ in range(count):
        der = base64.encodebytes(damaged(rng.choice(seeds), rng))
        yield b"-----BEGIN CERTIFICATE-----\n" + der + b"-----END CERTIFICATE-----\n"
