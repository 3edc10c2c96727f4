"""Private keys: the agent has each as a descriptor alone, and a confined child does what takes the key itself.

The child makes keys, examines them, signs requests and certificates with them, and shows them in handshakes. So no byte
of a managed key is ever in the memory of the daemon, where it would stay until the end of the process. Rejected:
erasing them there, which Python, OpenSSL and the allocator each undo; and a child for each key, since a directory may
have thousands.
"""

from certagent.keys.asking import KEEPER, Keeper
from certagent.keys.key import Key
from certagent.keys.using import (
    Subject,
    Terms,
    create_ca,
    drafted,
    examined,
    handshake,
    key_file,
    led_to,
    matched,
    pair_file,
    proof,
    requested,
    sign_csr,
)

__all__ = [
    "KEEPER",
    "Keeper",
    "Key",
    "Subject",
    "Terms",
    "create_ca",
    "drafted",
    "examined",
    "handshake",
    "key_file",
    "led_to",
    "matched",
    "pair_file",
    "proof",
    "requested",
    "sign_csr",
]
