"""File names of a certs-dir, as cockroach's loader reads them.

Source: cockroach splits a name at its dots and reads the first part (pkg/security, certificate loader).
Rejected: a regular expression per role. The rules differ only in whether a further part follows: roles.py.
"""

from dataclasses import dataclass
from functools import cached_property

from certagent.core.roles import BY_PREFIX, BY_ROLE, Kind, Role, kind_of
from certagent.core.spelling import quoted

LAST_TENANT = 2**64 - 1


@dataclass(frozen=True)
class Name:
    """One entry of a certs-dir: `client.root` has role CLIENT and subject `root`; `node` has subject ``""``."""

    role: Role
    subject: str = ""

    def __hash__(self) -> int:
        return hash(self.stem)

    @cached_property
    def stem(self) -> str:
        """The file name without its ending: `node`, `client.root`, `ca-client`."""
        return f"{self.role.value}.{self.subject}" if self.subject else self.role.value

    @cached_property
    def kind(self) -> Kind:
        """The row of the table of roles."""
        return kind_of(self.role, self.stem)

    @cached_property
    def numbered(self) -> bool:
        """Whether a tenant's file names its tenant by a number of 64 bits: else cockroach refuses the directory."""
        number = self.subject
        return self.kind.part != "tenant" or (number.isascii() and number.isdigit() and int(number) <= LAST_TENANT)

    @property
    def is_client(self) -> bool:
        """Whether it is the pair of a SQL user, or of a node as a client."""
        return self.role is Role.CLIENT

    @property
    def is_tenant(self) -> bool:
        """Whether it is the pair that a tenant's SQL server serves."""
        return self.role is Role.TENANT

    @cached_property
    def is_bundle(self) -> bool:
        """A trust bundle has no key that cockroach would load."""
        return self.kind.bundle


@dataclass(frozen=True, slots=True)
class Unknown:
    """A name that cockroach refuses or ignores, and why."""

    stem: str
    reason: str


def parse(stem: str) -> Name | Unknown:
    """Given a file name without `.crt` or `.key`, return what cockroach takes it for.

    Everything between `client.` and the ending is the user, dots included; the other roles take no further part.
    """
    if "/" in stem or "\0" in stem:
        return Unknown(stem, f"{quoted(stem)} is not a file name")
    prefix, dot, rest = stem.partition(".")
    role = BY_PREFIX.get(prefix)
    if role is None:
        return Unknown(stem, f"unknown prefix {quoted(prefix)}: cockroach ignores the file")
    if BY_ROLE[role].part:
        return (
            Name(role, rest) if rest else Unknown(stem, f"no name after {quoted(prefix)}: cockroach refuses the file")
        )
    return Unknown(stem, f"no name may follow {quoted(prefix)}: cockroach refuses the file") if dot else Name(role)


def of_user(user: str) -> Name | Unknown:
    """Given a user, return the name of the client pair."""
    return parse(f"{Role.CLIENT.value}.{user}")


def stem_of(file: str) -> str:
    """Given `node.crt`, `node.key` or `node`, return `node`."""
    return file.removesuffix(".crt").removesuffix(".key")


NODE = Name(Role.NODE)
UI = Name(Role.UI)
CA = Name(Role.CA)
CA_CLIENT = Name(Role.CA_CLIENT)
CA_UI = Name(Role.CA_UI)
CA_TENANT = Name(Role.CA_TENANT)
CLIENT_NODE = Name(Role.CLIENT, "node")
CLIENT_ROOT = Name(Role.CLIENT, "root")
CLIENT_DEBUG = Name(Role.CLIENT, "debug_user")
