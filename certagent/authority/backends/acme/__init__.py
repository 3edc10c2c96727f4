"""RFC 8555 by the acme library: accounts, orders, three challenges, chains, profiles, renewal information.

The only importer of acme, josepy and dnspython; it runs in a worker. Rejected: the library's own network layer (no
pinning, no size limits, redirects followed) and its order loop (it sleeps for whole seconds and cannot resume an
order).
"""

from certagent.authority.backends.acme.options import Options, needs

try:
    from certagent.authority.backends.acme.operations import ask
except ImportError as error:
    raise SystemExit(f"the acme library is missing ({error}): install certagent with the extra 'acme'") from error

__all__ = ["Options", "ask", "needs"]
