"""cockroach's rules about a certs-dir as tables over what a generated directory is made of: an oracle of its own.

Written from the rules alone. It reads no byte and shares no code with the core, `check` or the stand-in: a directory is
a description, and whether Go loads each kind of content is a table that Go itself confirms.
"""

from collections.abc import Mapping
from dataclasses import dataclass

# Contents of a certificate file, and whether cockroach parses it: CERTIFICATE blocks alone, each of them whole.
CERTS = {
    "good": True,
    "chain": True,
    "text before": True,
    "CRLF": True,
    "headers": True,
    "headers, then plain": True,
    "a damaged block later": False,
    "a key": False,
    "cut": False,
    "garbage": False,
    "white": False,
    "empty": False,
}
POOLED = {"good", "chain", "text before", "CRLF", "headers, then plain"}  # some block has no headers
# Contents of a key file, and whether tls.X509KeyPair takes it for the certificate beside it.
KEYS = {
    "good": True,
    "CRLF": True,
    "a blank line before END": True,
    "a header": True,
    "parameters before": True,
    "another's": False,
    "a byte order mark": False,
    "CR alone": False,
    "indented": False,
    "encrypted": False,
    "garbage": False,
    "empty": False,
}
# How a name stands in the directory, and whether the loader lists a certificate of it.
STANDS = {"file": True, "link": True, "dangling": True, "link to a directory": True, "FIFO": True, "unreadable": True}
STANDS |= {"absent": False, "directory": False}
REGULAR = {"file", "link"}
# Owner of a key, the bits that its mode may have, and the bit by which the process reads it.
OWNERS = {"user": (0o700, 0o400), "root and group": (0o740, 0o040), "root": (0o700, 0o004)}
MODES = (0o600, 0o400, 0o700, 0o640, 0o740, 0o644, 0o604, 0o660, 0o000, 0o4600, 0o1600, 0o1740, 0o2640)
# Names, and what they are: a bundle, a pair, a client's pair, a tenant's; None: neither loaded nor known.
NAMES = {
    "ca": "bundle",
    "ca-client": "bundle",
    "ca-ui": "bundle",
    "ca-client-tenant": "bundle",
    "node": "pair",
    "ui": "pair",
    "client.node": "client",
    "client.root": "client",
    "client.app": "client",
    "client.a.b": "client",
    "client-tenant.7": "tenant",
    "client-tenant.18446744073709551615": "tenant",
    "tenant-signing.007": "tenant",
    "client-tenant.18446744073709551616": "no number",
    "client-tenant.foo": "no number",
    "tenant-signing.-1": "no number",
    "client-tenant.7.8": "no number",
    "client-tenant.": None,
    "client.": None,
    "client": None,
    "node.foo": None,
    "ca.client": None,
    "tls": None,
    "Node": None,
}
# Whom a certificate names: common name, then the users of the system tenant by its URIs (None: it has none).
IDENTITIES: dict[str, tuple[str, tuple[str, ...] | None]] = {
    "node": ("node", None),
    "root": ("root", None),
    "app": ("app", None),
    "a.b": ("a.b", None),
    "custom": ("custom", None),
    "app by its URI": ("custom", ("app",)),
    "node by its URI": ("custom", ("node",)),
    "root by its URI": ("app", ("root",)),
    "root of tenant 10": ("root", ()),
    "a malformed URI": ("node", ()),
    "a tenant's": ("root", ()),
}
WHOLE = {"a malformed URI", "a tenant's"}  # refused whoever is asked for
OPTIONAL = ("ui", "ca-client", "ca-client-tenant", "client.node")
KEPT = ("ca", "node", "client.node", "ca-client", "ca-ui", "ui", "ca-client-tenant")


@dataclass(frozen=True)
class Crt:
    """A certificate file."""

    content: str = "good"
    stands: str = "file"
    identity: str = "node"


@dataclass(frozen=True)
class Key:
    """A key file."""

    content: str = "good"
    stands: str = "file"
    mode: int = 0o600
    owner: str = "user"


@dataclass(frozen=True)
class Rules:
    """The version of cockroach, and its flags."""

    old: bool = False  # up to 24.1
    skip: bool = False  # COCKROACH_SKIP_KEY_PERMISSION_CHECK
    mapped: str = ""  # --cert-principal-map custom:...
    node_dn: bool = False  # --node-cert-distinguished-name O=Cockroach,CN=custom


Directory = Mapping[str, tuple[Crt, Key]]


def listed(directory: Directory, stem: str) -> bool:
    """Whether the loader has an entry of that name."""
    return stem in directory and NAMES[stem] is not None and STANDS[directory[stem][0].stands]


def taken(directory: Directory, stem: str, rules: Rules) -> bool:
    """Whether that entry carries no error."""
    if not listed(directory, stem):
        return False
    crt, key = directory[stem]
    if crt.stands not in REGULAR or not CERTS[crt.content]:
        return False
    if NAMES[stem] == "bundle":
        return True
    named = NAMES[stem] != "client" or not rules.old or _name(crt, rules) == stem.partition(".")[2]
    limit, bit = OWNERS[key.owner]
    permitted = rules.skip or key.mode & 0o777 & ~limit == 0
    return named and key.stands in REGULAR and permitted and bool(key.mode & bit)


def refused_whole(directory: Directory) -> bool:
    """Whether a tenant's id that is no number refuses everything."""
    return any(NAMES[stem] == "no number" and listed(directory, stem) for stem in directory)


def nameless(directory: Directory, rules: Rules) -> bool:
    """Up to 24.1: a node without client.node.crt must name `node`."""
    if not rules.old or listed(directory, "client.node") or not taken(directory, "node", rules):
        return False
    return _name(directory["node"][0], rules) != "node"


def pair_works(directory: Directory, stem: str, rules: Rules) -> bool:
    """Whether Go can build a TLS configuration with it."""
    return taken(directory, stem, rules) and KEYS[directory[stem][1].content]


def pool_works(directory: Directory, stem: str, rules: Rules) -> bool:
    """The same of a bundle."""
    return taken(directory, stem, rules) and directory[stem][0].content in POOLED


def starts(directory: Directory, rules: Rules) -> bool:
    """Whether a node comes up."""
    if refused_whole(directory) or nameless(directory, rules):
        return False
    sound = [taken(directory, stem, rules) for stem in OPTIONAL if listed(directory, stem)]
    return all(sound) and connects(directory, rules)


def connects(directory: Directory, rules: Rules) -> bool:
    """Whether the server's, the console's and the node's own TLS configuration can be built of what is loaded."""
    server, clients = pair_works(directory, "node", rules), "ca-client" if listed(directory, "ca-client") else "ca"
    tenants = "ca-client-tenant" if listed(directory, "ca-client-tenant") else clients
    console = "ui" if listed(directory, "ui") else "node"
    own = "client.node" if listed(directory, "client.node") else "node"
    pools = all(pool_works(directory, stem, rules) for stem in ("ca", clients, tenants))
    return server and pools and pair_works(directory, console, rules) and pair_works(directory, own, rules)


def reloads(old: Directory, fresh: Directory, rules: Rules) -> bool:
    """Whether a reload is taken. The old directory is one with which the node started."""
    if refused_whole(fresh) or nameless(fresh, rules):
        return False
    return not any(taken(old, stem, rules) and not taken(fresh, stem, rules) for stem in KEPT)


def let_in(crt: Crt, user: str, rules: Rules) -> bool:
    """Whether servers let that certificate in as a user; another node is let in as root, too."""
    if crt.identity in WHOLE:
        return False
    common_name, by_uri = IDENTITIES[crt.identity]
    if user == "node" and rules.node_dn:
        return common_name == "custom"
    users = {_name(crt, rules)} if by_uri is None else set(by_uri)
    return bool(users & ({"node", "root"} if user == "node" else {user}))


def _name(crt: Crt, rules: Rules) -> str:
    name = IDENTITIES[crt.identity][0]
    return rules.mapped if rules.mapped and name == "custom" else name
