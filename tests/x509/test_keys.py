"""Key files as Go reads them: what an editor, a copy or a tool did to a file, and what cockroach says of it."""

from base64 import b64decode, b64encode
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, x25519

from certagent import x509
from tests.making import DAY, make_ca
from tests.verifying.mutants import three_primes

KEY = x509.generate_key("ecdsa-p256")
Change = Callable[[bytes], bytes]


def before_the_end(what: bytes) -> Change:
    return lambda key: key.replace(b"-----END", what + b"-----END")


def after_the_beginning(what: bytes) -> Change:
    return lambda key: key.replace(b"KEY-----\n", b"KEY-----\n" + what, 1)


def of_another_kind(make: Callable[[], object]) -> Change:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return lambda _: make().private_bytes(*form)  # type: ignore[attr-defined, no-any-return]


READ: list[tuple[str, Change]] = [
    ("as it was written", lambda key: key),
    ("CRLF", lambda key: key.replace(b"\n", b"\r\n")),
    ("a blank line before END", before_the_end(b"\n")),
    ("blank lines everywhere", lambda key: key.replace(b"\n", b"\n\n")),
    ("a header", after_the_beginning(b"Comment: node\n")),
    ("an encryption header on what is not encrypted", after_the_beginning(b"Proc-Type: 4,ENCRYPTED\n\n")),
    ("blanks in the base64", after_the_beginning(b" \t")),
    ("a label of an encrypted key", lambda key: key.replace(b"PRIVATE", b"ENCRYPTED PRIVATE")),
    ("a label of an RSA key", lambda key: key.replace(b"PRIVATE", b"RSA PRIVATE")),
    ("words on lines of their own", lambda key: b"Bag Attributes\n  name: x\n" + key + b"words\n"),
    ("a certificate before it", lambda key: make_ca().cert + key),
    ("a second key after it", lambda key: key + x509.generate_key("rsa-2048")),
    ("blanks after BEGIN and END", lambda key: key.replace(b"KEY-----\n", b"KEY----- \t\n")),
    ("no line end at the end", lambda key: key.rstrip()),
]
UNREAD: list[tuple[str, Change, str]] = [
    ("a byte order mark", lambda key: b"\xef\xbb\xbf" + key, "byte order mark"),
    ("CR alone", lambda key: key.replace(b"\n", b"\r"), "CR alone"),
    ("an indented BEGIN", lambda key: b" " + key, "failed to find any PEM data in key input"),
    ("an indented END", before_the_end(b" "), "failed to find any PEM data in key input"),
    ("words before BEGIN", lambda key: b"key: " + key, "a whole line"),
    ("words after END", lambda key: key.rstrip() + b" # node\n", "a whole line"),
    ("a form feed in the base64", after_the_beginning(b"\f"), "nothing but base64"),
    ("a no-break space in the base64", after_the_beginning(b"\xc2\xa0"), "nothing but base64"),
    ("a NUL at the end of a line", before_the_end(b"\0"), "nothing but base64"),
    ("a certificate", lambda _: make_ca().cert, "only 'CERTIFICATE'"),
    ("a label that ends in something else", lambda key: key.replace(b"KEY-----", b"KEYS-----"), "only 'PRIVATE KEYS'"),
    ("a DSA key", of_another_kind(lambda: dsa.generate_private_key(2048)), "RSA, ECDSA or Ed25519"),
    ("an X25519 key", of_another_kind(x25519.X25519PrivateKey.generate), "RSA, ECDSA or Ed25519"),
    ("nothing", lambda _: b"\n", "empty"),
]


@pytest.mark.parametrize(("change"), [row[1] for row in READ], ids=[row[0] for row in READ])
def test_key_that_go_reads_is_read(change: Change) -> None:
    """It is the same key as before, and a handshake with it succeeds."""
    ca = make_ca()
    cert, key = ca.pair()
    assert x509.parse_key(change(key)) == x509.parse_key(key)
    assert x509.handshake(cert, change(key), server_roots=ca.cert, client_roots=ca.cert) is None


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in UNREAD], ids=[row[0] for row in UNREAD])
def test_key_that_go_does_not_read_is_refused(change: Change, words: str) -> None:
    """The sentence says what is wrong, and quotes nothing of the key."""
    with pytest.raises(x509.X509Error, match=words) as error:
        x509.parse_key(change(KEY))
    assert "MIG" not in error.value.message


def test_key_of_three_primes_is_read() -> None:
    """As Go reads it: it belongs to its certificate, a handshake with it succeeds, and only the number is checked."""
    ca, key = make_ca(), three_primes()
    csr = x509.make_csr(key, "node", ("localhost",))
    cert = x509.sign_csr(csr, ca.cert, ca.key, server=True, client=True, not_before=ca.at - DAY, not_after=ca.at + DAY)
    assert x509.parse_key(key)[0] == x509.parse_certificates(cert)[0].spki
    assert x509.handshake(cert, key, server_roots=ca.cert, client_roots=ca.cert) is None


def test_key_of_three_primes_that_do_not_belong_together_is_refused() -> None:
    """The last byte of the third prime is another."""
    lines = three_primes().splitlines()
    der = bytearray(b64decode(b"".join(lines[1:-1])))
    der[-2 * 132 - 1] ^= 2  # before the last two numbers of 1024 bits
    changed = [lines[0], b64encode(bytes(der)), lines[-1], b""]
    with pytest.raises(x509.X509Error, match="RSA, ECDSA or Ed25519"):
        x509.parse_key(b"\n".join(changed))
