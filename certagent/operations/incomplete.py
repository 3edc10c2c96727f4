"""What a valid configuration names and this host does not have: files, variables, a CA, the owner's directory.

A certs directory or a collector's directory that does not exist is told apart: another program may make it later, and
the agent then begins by itself.
"""

import os
import pwd
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from difflib import get_close_matches
from shlex import quote

from certagent import x509
from certagent.authority.client.secrets import has_private_key
from certagent.certs_dir.access import denied, denied_to
from certagent.certs_dir.lock import closed
from certagent.config import AuthorityConfig, Config, LocalConfig
from certagent.config.remote import RemoteConfig
from certagent.core.policy import Policy
from certagent.core.spans import stamp
from certagent.operations.outside import untrusted
from certagent.operations.readable import forbidden
from certagent.posix.errors import HostError
from certagent.posix.owner import name_of
from certagent.posix.trusted import distrust
from certagent.state.ownership import agent_there


def missing(config: Config, environ: Mapping[str, str], now: datetime) -> tuple[str, ...]:
    """Given a configuration, the environment and the time, return a sentence for each, after the path of its key."""
    agent = agent_there(config.settings.state_dir)
    found = [
        f"authority.{a.name}.{each}"
        for a in config.authorities.values()
        for each in _of_authority(a, environ, now, agent)
    ]
    root = os.geteuid() == agent == 0
    found += [
        f"certs_dir[{n}].{each}"
        for n, policy in enumerate(config.policies)
        for each in (*_of_directory(policy, root=root), *_barred(policy, agent), *_of_members(policy, agent))
    ]
    return (*found, *untrusted(config))


def awaited(config: Config) -> tuple[str, ...]:
    """Given a configuration, return a sentence for each directory that does not exist yet, after its key."""
    found = [
        f"certs_dir[{n}].path: {policy.path} does not exist; {_created(policy)}"
        for n, policy in enumerate(config.policies)
        if _absent(policy.path)
    ]
    place = config.metrics.textfile
    if place and _absent(place):
        found.append(f"metrics.textfile: {place} does not exist; it is --collector.textfile.directory of node_exporter")
    return tuple(found)


def widely_trusted(config: Config) -> tuple[str, ...]:
    """Given a configuration, return a sentence for each private CA for which any CA of the system may vouch."""
    return tuple(
        f"authority.{a.name}.url: it is verified by the system's roots; set tls_roots or tls_fingerprint to trust"
        " its CA alone"
        for a in config.authorities.values()
        if isinstance(a.options, RemoteConfig) and _by_system(a.options)
    )


def _by_system(made: RemoteConfig) -> bool:
    """Whether any CA that the system trusts could vouch for the endpoint of a CA that is rarely a public one."""
    asked = str(made.options.get("url", "")).startswith("https:")
    return asked and not (made.tls_roots or made.tls_fingerprints or made.traits.own_trust)


def _absent(path: str) -> bool:
    """Whether a path leads to nothing; who may not look there cannot say."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _created(policy: Policy) -> str:
    """What to do about a certs directory that does not exist: a similar name beside it may be meant."""
    if os.path.islink(policy.path):
        return f"it is a link to {os.readlink(policy.path)}; create that directory, or correct the link"
    parent, name = os.path.split(policy.path)
    beside: list[str] = []
    with suppress(OSError), os.scandir(parent) as entries:
        beside = [entry.name for entry in entries if entry.is_dir()]
    near = get_close_matches(name, beside, 1)
    if near:
        return f"did you mean {os.path.join(parent, near[0])}?"
    return f"create it: install -d -m 0700 -o {policy.owner.user} {quote(policy.path)}"


def _of_authority(
    authority: AuthorityConfig, environ: Mapping[str, str], now: datetime, agent: int | None
) -> Iterator[str]:
    made = authority.options
    if isinstance(made, LocalConfig):
        yield from _of_embedded(made, now, agent)
    elif isinstance(made, RemoteConfig):
        for key, source in made.secrets.items():
            yield from _of_secret(key, source, environ, agent)
        files = {"tls_roots": made.tls_roots, "issuing_roots": made.issuing_roots}
        files |= {"client_cert": made.client_cert, "client_key": made.client_key}
        for key, path in files.items():
            yield from _of_own(key, path, agent)
        yield from _of_options(made, agent)


def _of_options(made: RemoteConfig, agent: int | None) -> Iterator[str]:
    """The programs and directories that a type of CA has settings for."""
    for key in ("command", "dns_hook"):
        for program in (made.options.get(key) or ())[:1]:
            yield from _of_file(key, program)
            yield from forbidden(key, program, agent, os.X_OK)
    for key in ("readable", "writable", "webroot", "outbox", "inbox"):
        value = made.options.get(key) or ()
        for path in (value,) if isinstance(value, str) else value:
            if _absent(path):
                yield f"{key}: {path} does not exist"


def _of_secret(key: str, source: str, environ: Mapping[str, str], agent: int | None) -> Iterator[str]:
    kind, _, name = source.partition(":")
    if kind == "env" and not environ.get(name):
        yield f"{key}: the environment has no {name}; the agent needs it: Environment= or EnvironmentFile= of its unit"
    elif kind == "credential" and (directory := environ.get("CREDENTIALS_DIRECTORY")):
        yield from _of_file(key, os.path.join(directory, name))
    elif source.startswith("/"):
        yield from _of_own(key, source, agent)
        if has_private_key(source):
            yield f"{key}: {source} contains a private key, which would be sent to the CA"


def _of_own(key: str, path: str, agent: int | None) -> Iterator[str]:
    """What is wrong with a file that the agent reads, and that nobody else may exchange."""
    yield from _of_file(key, path)
    yield from _trusted(key, path, agent)
    yield from forbidden(key, path, agent)


def _trusted(key: str, path: str, agent: int | None) -> Iterator[str]:
    """Who else than root and the agent's user could exchange the file: the agent would refuse it."""
    with suppress(OSError):
        if path and agent is not None and (problem := distrust(path, (agent,))):
            yield f"{key}: {problem}"


def _of_file(key: str, path: str) -> Iterator[str]:
    try:
        if (path and os.path.isdir(path)) or (path and not os.stat(path).st_size):
            yield f"{key}: {path} is {'a directory' if os.path.isdir(path) else 'empty'}"
    except (FileNotFoundError, NotADirectoryError):
        yield f"{key}: {path} does not exist"
    except OSError:  # who may not look there cannot say
        return


def _of_embedded(made: LocalConfig, now: datetime, agent: int | None) -> Iterator[str]:
    cert, key = (os.path.join(made.directory, file) for file in (made.ca_cert, made.ca_key))
    try:
        with open(cert, "rb") as file:
            ends = [c.not_after for c in x509.parse_certificates(file.read())]
        if ends and min(ends) <= now:
            yield f"directory: {cert} expired at {stamp(min(ends))}; configure a new CA, and rotate the bundle first"
        yield from _of_file("directory", key)
        for path in (cert, key):
            yield from forbidden("directory", path, agent)
    except FileNotFoundError:
        if not made.create:
            yield f"directory: there is no {cert}; copy an existing CA there, or set create = true"
    except x509.X509Error as error:
        yield f"directory: {cert}: {error}"
    except PermissionError:  # who may not look there cannot say, unless this is the agent's user
        yield from forbidden("directory", cert, agent)
    except OSError as error:
        yield f"directory: {cert} cannot be read: {error.strerror}"


def _of_members(policy: Policy, agent: int | None) -> Iterator[str]:
    """What is wrong with the file that names the members."""
    if path := policy.rotation.peers_file:
        yield from _of_own("rotation.peers_file", path, agent)


def _of_directory(policy: Policy, *, root: bool) -> Iterator[str]:
    """Either `owner` is not the user that cockroach runs as, or somebody else made the directory.

    `root`: the agent is root, who serves only what root alone can write.
    """
    if policy.roots:
        yield from _of_file("file.ui.roots", policy.roots)
    with suppress(OSError):
        if not os.path.isdir(policy.path) and os.path.lexists(policy.path):
            yield f"path: {policy.path} is not a directory"
            return
        if root and (only := closed(policy.path)):
            yield f"path: {only.reason}; {only.remedy}"
            return
        if (uid := os.stat(policy.path).st_uid) != policy.owner.uid:
            whose, shown = name_of(uid), quote(policy.path)
            yield f"owner: {policy.path} belongs to {whose}: write {whose!r}, or chown {policy.owner.user} {shown}"


def _barred(policy: Policy, agent: int | None) -> Iterator[str]:
    """Why the agent's user, if it is not root, cannot change a directory that it is meant to change."""
    own = os.geteuid() == agent
    if not agent or not (own or os.geteuid() == 0) or not any(want.authorities for want in policy.wants):
        return
    with suppress(KeyError, HostError, OSError):
        try:
            os.stat(policy.path)
        except PermissionError as error:
            found = denied(policy.path, error.errno) if own else None
        else:
            found = denied_to((agent, pwd.getpwuid(agent).pw_gid), os.path.realpath(policy.path))
        if found and found.cause:
            yield f"path: the agent cannot use {policy.path}: {found.cause}; {found.advice}"
