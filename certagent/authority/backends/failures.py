"""Why an exchange with a CA's endpoint failed: the innermost reason, without the words of the libraries."""

from http.client import BadStatusLine, HTTPException

import urllib3

from certagent.authority.errors import AuthorityError
from certagent.authority.redaction import shown
from certagent.core.words import framed

NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")  # OpenSSL's names
CUT = ("UNEXPECTED_EOF_WHILE_READING",)
ALERT = "\x15\x03"  # how a TLS record begins that says why there is no handshake


def broken(url: str, error: Exception, *, by_system: bool = False) -> AuthorityError:
    """Given what an exchange ended with, return the error that it means.

    `by_system`: the endpoint is recognised by the system's roots, as no setting says by what else.
    """
    if not isinstance(error, urllib3.exceptions.SSLError):
        return AuthorityError(f"cannot reach {url}: {cause(error)}", kind="unreachable")
    if told := _no_tls(error):
        return AuthorityError(f"cannot reach {url}: {told}", kind="tls")
    see = "see tls_roots and tls_fingerprint"
    if by_system:
        see = "the system's roots were trusted: set tls_roots or tls_fingerprint to trust another CA"
    return AuthorityError(f"cannot trust {url}: {cause(error)}; {see}", kind="tls")


def _no_tls(error: Exception) -> str:
    """What an endpoint does that does not speak TLS; "" where it does."""
    name = getattr(_inner(error), "reason", None) or ""
    if name in NO_TLS:
        return "the port does not speak TLS (it may speak plain http); correct the port or the scheme of the URL"
    return (
        "the connection was closed in the TLS handshake: the CA's log may say why, or correct the port"
        if name in CUT
        else ""
    )


def cause(error: Exception) -> str:
    """The innermost reason, in one line."""
    inner = _inner(error)
    if isinstance(inner, BadStatusLine) and str(inner.args[0]).strip("'\"").startswith((ALERT, repr(ALERT)[1:-1])):
        return "the port speaks TLS, not plain http; write https in the URL"
    if told := _unconnected(inner):
        return told
    text = getattr(inner, "verify_message", "") or getattr(inner, "reason", "") or str(inner) or type(inner).__name__
    line = shown(str(text).splitlines()[0], 200)
    return framed(line) if isinstance(inner, HTTPException) else line  # such an error quotes what the server sent


def _inner(error: Exception) -> Exception:
    return error.args[-1] if error.args and isinstance(error.args[-1], Exception) else error


def _unconnected(error: BaseException) -> str:
    """Why there is no connection, without the words of the library; "" where it is something else."""
    system = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return f"its name cannot be resolved: {system or 'no answer'}"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return system or ""
    if isinstance(error, urllib3.exceptions.ConnectTimeoutError):
        return "no connection in time (a firewall, or no such host)"
    return "no answer in time" if isinstance(error, urllib3.exceptions.ReadTimeoutError) else ""
