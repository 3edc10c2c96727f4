"""What `certagent init` prints: one commented configuration for each agent that the host needs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from shlex import quote

from certagent.core import toml
from certagent.core.adoption import UNDECIDED, Found, roots, rows, table
from certagent.core.spelling import printable
from certagent.core.units import Unit, drop_in

NO_PIN = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
CHOICES = """\
# Each example is complete but for what only you know; docs/authorities/ has a page for each type. Take one, correct it,
# remove the `# ` before it, name it in `authority` below, and run `certagent authority test NAME`: it tests the CA from
# end to end and installs nothing. A secret must be readable by the agent's user, {user}, and writable by nobody else.
#
# An embedded CA, for one host or a lab: ca.crt and ca.key of `cockroach cert create-ca`, in a directory of their own
# [authority.house]
# type = "local"
# directory = "{state}/ca"
#
# step-ca
# [authority.step]
# type = "step"
# url = "https://ca.example.com:9000"
# root = "{pin}"  # step certificate fingerprint root_ca.crt
# issuing_fingerprints = ["{pin}"]
# provisioner = "hosts"
# provisioner_key = "/etc/certagent/hosts.jwk"
#
# OpenBao or Vault
# [authority.bao]
# type = "vault"
# url = "https://vault.example.com:8200"
# tls_roots = "/etc/certagent/vault-tls.pem"  # that its endpoint's certificate chains to
# mount = "pki"
# role = "cockroach"
# auth = "approle"
# role_id = "/etc/certagent/role-id"
# secret_id = "/etc/certagent/secret-id"
# issuing_fingerprints = ["{pin}"]
#
# ACME: a private CA, or a public one for the DB Console's pair
# [authority.acme]
# type = "acme"
# directory_url = "https://ca.example.com/acme/acme/directory"
# contact = ["ops@example.com"]
# terms_accepted = true
# challenge = "http-01"
# issuing_fingerprints = ["{pin}"]
#
# EST
# [authority.est]
# type = "est"
# url = "https://est.example.com:8443"
# tls_roots = "/etc/certagent/est-tls.pem"  # that its endpoint's certificate chains to
# username = "host"
# password = "/etc/certagent/est-password"
#
# CFSSL
# [authority.cfssl]
# type = "cfssl"
# url = "https://cfssl.example.com:8888"
# tls_roots = "/etc/certagent/cfssl-tls.pem"  # that its endpoint's certificate chains to
# auth_key = "/etc/certagent/cfssl-key"
#
# any program
# [authority.program]
# type = "command"
# command = ["/usr/local/lib/certagent/sign.sh"]
#
# people, who have requests signed by hand
# [authority.people]
# type = "dropbox"
# outbox = "/srv/certagent/outbox"
# inbox = "/srv/certagent/inbox"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One configuration file, and the unit that reads it."""

    unit: Unit
    found: tuple[Found, ...]
    text: str
    drop_in: tuple[str, ...]  # lines that the unit needs in addition

    def steps(self, path: str) -> tuple[str, ...]:
        """Given where the file is, return what to do with it, a command or a step each."""
        c = f"-c {quote(path)}"
        edit = (f"systemctl edit {self.unit.name}: add the lines that the file shows",) if self.drop_in else ()
        start = f"systemctl enable --now {self.unit.name}"
        return (f"certagent config check {c}", f"certagent plan {c}", *edit, start, f"certagent doctor {c}")


def proposed(unit: Unit, found: tuple[Found, ...], *, host: str, at: str, manual: str = "") -> Proposal:
    """Given a unit, the directories that its agent is to manage, and where and when they were seen, return it.

    `manual`: what comes before the path of a page of the documentation.
    """
    changed = tuple(f.path for f in found if f.directory.managed and f.directory.exists)
    lines = drop_in(changed)
    text = "\n".join([*_head(unit, found, host, at, manual), *_decide(unit, lines), *_tables(unit, found)]) + "\n"
    return Proposal(unit=unit, found=found, text=text, drop_in=lines)


def _head(unit: Unit, found: tuple[Found, ...], host: str, at: str, manual: str) -> Iterator[str]:
    yield toml.comment(f"{unit.config}, for {unit.name}.service (user {unit.user}).")
    yield toml.comment(
        f"`certagent init` made it on {host} at {at}. It adopts what it found and changes no certificate."
    )
    yield toml.comment(f"{manual}config.example.toml has every other setting,")
    yield toml.comment(f"{manual}docs/configuration.md explains them.")
    yield toml.comment()
    yield toml.comment("Found:")
    for one in found:
        yield from (toml.comment(row, 2) for row in rows(one))
        yield from (toml.comment(f"  NOTE: {note}", 2) for note in one.notes)
    yield toml.comment()


def _decide(unit: Unit, lines: tuple[str, ...]) -> Iterator[str]:
    yield toml.comment("To decide:")
    yield toml.comment(
        f"- Who issues? Authority {UNDECIDED!r} below renews nothing: certagent checks the files, repairs", 2
    )
    yield toml.comment("  the modes of keys, reloads cockroach and verifies the result. Examples are below.", 2)
    yield toml.comment("- `names` are those of the certificates today. Add what clients dial, before you renew.", 2)
    if lines:
        yield toml.comment(f"- The unit may not write there yet: `systemctl edit {unit.name}`, and add", 2)
        yield from (toml.comment(line, 6) for line in lines)
    yield ""


def _tables(unit: Unit, found: tuple[Found, ...]) -> Iterator[str]:
    if unit.state_dir:
        yield "[agent]"
        yield f"state_dir = {toml.string(unit.state_dir)}"
        yield f"socket = {toml.string(unit.socket)}"
        yield ""
    yield f"[authority.{UNDECIDED}]"
    yield 'type = "none"  # nothing is renewed until you choose an authority'
    yield ""
    pins = [pin for one in found for pin in roots(one)]
    pin = pins[0] if pins else NO_PIN
    state = unit.state_dir or "/var/lib/certagent"
    yield from CHOICES.format(user=printable(unit.user), state=state, pin=pin).splitlines()
    for one in found:
        yield ""
        yield from table(one)


def grouped(found: Iterable[Found]) -> dict[str, tuple[Found, ...]]:
    """The directories by the user that their agent runs as."""
    by_user: dict[str, tuple[Found, ...]] = {}
    for one in found:
        by_user[one.user] = (*by_user.get(one.user, ()), one)
    return by_user
