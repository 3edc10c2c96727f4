"""What a process gives up that talks to strangers: the worker that asks a CA, and the one that asks OCSP responders.

A leaf that both may import, whoever starts them: neither holds a managed key, and neither could reach one.
"""

from certagent.host.confine.confining import SCOPE_ABI, Missing, Profile, confine, landlock_abi, shown

__all__ = ["SCOPE_ABI", "Missing", "Profile", "confine", "landlock_abi", "shown"]
