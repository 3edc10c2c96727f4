"""cockroach's own decision about each file when it loads a certs-dir, and whether a node starts with it.

Source: cockroach's certificate loader and manager. The order is theirs: the name, the certificate, a client's
principal, then the key as `stat` sees it. What the loader does not look at (the key's content, chains,
dates, usages) changes no verdict here: rules.py says what happens at the next handshake.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from certagent.core import names
from certagent.core.facts import File, LoaderFlags, Pair
from certagent.core.names import CLIENT_NODE
from certagent.core.principals import refused_principal
from certagent.core.roles import BY_PREFIX, BY_ROLE, KINDS
from certagent.core.rules import key_mode_accepted


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the loader takes one `.crt` entry; `role` is "" where the name has none."""

    name: str
    role: str
    user: str
    accepted: bool
    reason: str = ""


def verdicts(
    pairs: tuple[Pair, ...], unmanaged_files: tuple[File, ...], gid: int, terms: LoaderFlags
) -> tuple[Verdict, ...]:
    """Given the files of a directory and the process's group and flags, return a verdict per `.crt` entry, by name."""
    split = any(p.name == CLIENT_NODE and p.cert is not None for p in pairs)
    found = [_of_pair(p, gid, terms, split=split) for p in pairs if p.cert is not None]
    found += [_of_stranger(f) for f in unmanaged_files if f.name.endswith(".crt")]
    return tuple(sorted(found, key=lambda v: v.name))


def _of_pair(pair: Pair, gid: int, terms: LoaderFlags, *, split: bool) -> Verdict:
    name, cert = pair.name, pair.cert
    file = cert.file.name if cert else f"{name.stem}.crt"
    user = name.subject if name.kind.part == "user" else ""
    reason = next(_refusals(pair, gid, terms, split=split), "")
    return Verdict(file, name.role.value, user, not reason, reason)


def _refusals(pair: Pair, gid: int, terms: LoaderFlags, *, split: bool) -> Iterator[str]:
    name, cert, key = pair.name, pair.cert, pair.key
    if cert is None or cert.leaf is None:
        yield (cert.problem if cert else None) or "cannot be read"
        return
    if name.is_bundle:
        return
    refused = refused_principal(name, name.kind.needed(name.subject, split=split).principal, cert.leaf, terms)
    if refused and name.kind.loader_wants_principal:
        yield f"the certificate {refused}"
    if key is None:
        yield f"{name.stem}.key is missing"
        return
    if key.file.kind != "file":
        yield key.problem or "the key is not a regular file"
    if not terms.skip_key_check and not key_mode_accepted(key.file, gid):
        yield f"the key's mode is {key.file.mode:04o}, so others may read it"
    if key.problem_kind in {"irregular", "unreadable"}:
        yield f"the key: {key.problem}"
    if refused:  # the principal of a node is checked after everything is loaded
        yield f"the certificate {refused}"


def _of_stranger(file: File) -> Verdict:
    parsed = names.parse(names.stem_of(file.name))
    if file.kind == "directory":
        return Verdict(file.name, "", "", accepted=False, reason="a directory: cockroach skips it")
    reason = parsed.reason if isinstance(parsed, names.Unknown) else f"a {file.kind}"
    return Verdict(file.name, "", "", accepted=False, reason=reason)


def start_problem(found: tuple[Verdict, ...]) -> str:
    """Given the verdicts, return why a node would not come up with this directory, "" where the loader lets it."""
    by_name = {v.name: v for v in found}
    for verdict in found:
        if not tenant_named(verdict):
            return f"{verdict.name}: the tenant's id is not a number"
    for file, required in ((f"{k.stem}.crt", k.at_start == "required") for k in KINDS if k.at_start):
        verdict = by_name.get(file, Verdict(file, "", "", accepted=False, reason="it is missing"))
        if required and not verdict.accepted:
            return f"{file}: {verdict.reason}"
        if verdict.role and not verdict.accepted:
            return f"{file}: {verdict.reason}; cockroach does not fall back to another file"
    return ""


def tenant_named(verdict: Verdict) -> bool:
    """A tenant's file names its tenant by number; one that does not ends the whole load."""
    tenant = bool(verdict.role) and BY_ROLE[BY_PREFIX[verdict.role]].part == "tenant"
    number = verdict.name.partition(".")[2].removesuffix(".crt")
    return not tenant or (number.isascii() and number.isdigit())
