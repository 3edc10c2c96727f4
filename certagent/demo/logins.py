"""The user of a client certificate, and whether the stand-in accepts it: cockroach's decision, without the core."""

import re
from dataclasses import dataclass

from certagent import x509
from certagent.demo.loader import Flags

SCOPE = re.compile(r"crdb://(?:tenant/([0-9]+)|tenant-name/([^/\s]+))/user/(\S+)")
COMMA = re.compile(r"(?<!\\),")  # between the parts of a name


@dataclass(frozen=True, slots=True)
class Shown:
    """The user of a client certificate."""

    users: tuple[tuple[str, str], ...] = ()  # (tenant, user); "" is any tenant
    tenant: str = ""  # of a tenant's own certificate
    subject: str = ""  # in the order of the encoding
    refused: str = ""  # why it is refused as a whole

    def is_user(self, user: str) -> bool:
        """Whether it may be that user of the system tenant."""
        return not self.refused and any(t in {"", "1", "system"} and u == user for t, u in self.users)


def shown_by(pem: bytes, flags: Flags) -> Shown:
    """Given a client's certificate, return its user."""
    leaf = x509.parse_certificates(pem)[0]
    subject = ",".join(COMMA.split(leaf.subject)[::-1])
    if "OU=Tenants" in re.split(r"(?<!\\)[,+]", leaf.subject):
        return Shown(tenant=(leaf.common_names or ("?",))[-1], subject=subject)
    scopes = [SCOPE.fullmatch("crdb" + uri[4:]) for uri in leaf.uris if uri.lower().startswith("crdb:")]
    if not all(m and (m[2] or 0 < int(m[1]) < 2**64) for m in scopes):
        return Shown(subject=subject, refused="malformed crdb URI")
    names = tuple(flags.principal_map.get(n, n) for n in [*leaf.common_names[-1:], *leaf.dns])
    users = tuple((m[1] or m[2], m[3]) for m in scopes if m) or tuple(("", name) for name in names)
    barred = not flags.root_login and any(user == "root" for _, user in users)
    return Shown(users, "", subject, "root is disallowed" if barred else "")


def may_call(who: Shown | None, flags: Flags) -> bool:
    """Whether a caller is let in as another node, as root, or as a tenant by its number."""
    if who is None or who.refused:
        return False
    if who.tenant:
        return who.tenant.isascii() and who.tenant.isdigit()
    return flags.node_dn == who.subject if flags.node_dn else who.is_user("node") or who.is_user("root")


def may_log_in(user: str, who: Shown, flags: Flags) -> bool:
    """Whether a client with that certificate is let in as that user."""
    return who.is_user(user) and user != flags.no_login and (user != "debug_user" or flags.debug_user)
