"""Run one untrusted question in a confined child: one that asks a CA, or one that asks an OCSP responder.

The child holds no managed key and cannot reach one.
"""

from certagent.sandbox.confining import SCOPE_ABI, Missing, Profile, confine, landlock_abi, refuse_more
from certagent.sandbox.readable import shown

__all__ = ["SCOPE_ABI", "Missing", "Profile", "confine", "landlock_abi", "refuse_more", "shown"]
