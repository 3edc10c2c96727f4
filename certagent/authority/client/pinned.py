"""The roots for a missing trust bundle: only pinned ones, and all that are pinned."""

from collections.abc import Callable

from certagent import x509
from certagent.authority.errors import AuthorityError
from certagent.core.facts import Leaf

MOST = 64  # certificates of one answer
LARGEST = 1 << 20  # characters of one answer: a longer certificate file is never read back


def certificates(authority: str, pem_text: str) -> tuple[tuple[Leaf, bytes], ...]:
    """Given what an authority sent, return each certificate and its PEM. Raises AuthorityError."""
    if len(pem_text) > LARGEST:
        message = f"cannot use what authority {authority} sent: over {LARGEST} bytes, the limit of a certificate file"
        raise AuthorityError(message, kind="malformed")
    try:
        found = x509.split_certificates(pem_text.encode("utf-8", "replace"))
    except x509.X509Error as error:
        raise AuthorityError(f"cannot use what authority {authority} sent: {error}", kind="malformed") from error
    if len(found) > MOST:
        message = f"cannot use what authority {authority} sent: {len(found)} certificates; the limit is {MOST}"
        raise AuthorityError(message, kind="malformed")
    return found


def unknown(pins: tuple[str, ...], known: bytes) -> tuple[str, ...]:
    """The pins of roots that are not in a bundle that is there already: the CA need show no other one."""
    here = {leaf.fingerprint for leaf, _ in x509.split_certificates(known)} if known else set()
    return tuple(pin for pin in pins if pin not in here)


def pinned_roots(bundle: str, authority: str, file: bytes, pins: tuple[str, ...], ask: Callable[[], str]) -> bytes:
    """Every pinned root: those of the file, and each fingerprint's, of the file or of what the CA shows (`ask`).

    Raises AuthorityError if one is missing: in the middle of a rotation the other hosts may still need it.
    """
    if not file and not pins:
        remedy = f"set issuing_roots or issuing_fingerprints, or copy {bundle} there"
        message = f"cannot create {bundle} from authority {authority}: its roots are not pinned; {remedy}"
        raise AuthorityError(message, kind="refused")
    have = {leaf.fingerprint for leaf, _ in certificates(authority, file.decode())} if file else set()
    if have.issuperset(pins):
        return file
    shown = {leaf.fingerprint: pem for leaf, pem in certificates(authority, ask())}
    if missing := sorted({*pins} - have - shown.keys()):
        has, lacks = (", ".join(mark[:12] for mark in marks) for marks in (shown, missing))
        message = (
            f"cannot create {bundle}: authority {authority} shows {has} and lacks {lacks} of issuing_fingerprints;"
            " name a file with these roots in issuing_roots, or remove their fingerprints"
        )
        raise AuthorityError(message, kind="refused")
    return file + b"".join(pem for mark, pem in shown.items() if mark in pins)
