"""Whether the trust bundles of a directory contain the root of each embedded CA that is to issue there.

Of another CA that is not known before it is asked: it may cross-sign, and a pinned root is added by the agent.
"""

import os
from collections.abc import Iterator
from shlex import quote

from certagent import x509
from certagent.config import Config, LocalConfig
from certagent.core.names import CA
from certagent.core.policy import Policy
from certagent.core.rotation.roots import BY_MEMBERS


def untrusted(config: Config) -> Iterator[str]:
    """A sentence for each directory and embedded CA whose certificates the pre-install checks would refuse."""
    for n, policy in enumerate(config.policies):
        known = _spkis(*(os.path.join(policy.path, f"{stem}.crt") for stem in BY_MEMBERS))
        for name in sorted({a for w in policy.wants if not w.name.kind.system_roots for a in w.authorities}):
            made = config.authorities[name].options if name in config.authorities else None
            if isinstance(made, LocalConfig) and known:
                yield from _outside(f"certs_dir[{n}].authority", policy, name, made, known)


def _outside(key: str, policy: Policy, name: str, made: LocalConfig, known: frozenset[str]) -> Iterator[str]:
    root = os.path.join(made.directory, made.ca_cert)
    roots = _spkis(root)
    if roots and not roots & known:
        bundle = os.path.join(policy.path, f"{CA.stem}.crt")
        yield (
            f"{key}: {bundle} does not contain the root of authority {name!r}: certagent bundle add {quote(root)}, on"
            " every node"
        )


def _spkis(*files: str) -> frozenset[str]:
    """The keys of the certificates in some files; none of what cannot be read, of which others say why."""
    found: set[str] = set()
    for path in files:
        try:
            with open(path, "rb") as file:
                found |= {c.spki for c in x509.parse_certificates(file.read())}
        except (OSError, x509.X509Error):
            continue
    return frozenset(found)
