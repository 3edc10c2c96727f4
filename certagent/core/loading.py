"""cockroach's own decision about each file when it loads a certs-dir, and whether a node starts with it.

Source: cockroach's certificate loader and manager. The order is theirs: the name, the certificate, up to 24.1 a
client's principal, then the key as `stat` sees it. What the loader does not look at (the key's content, chains,
dates, usages) changes no verdict here. At its start a node then builds the TLS configurations of its ports and of its
own connections: these need keys that match and bundles with a certificate. rules.py says what becomes of the rest at
the next handshake.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from certagent.core import names
from certagent.core.facts import File, LoaderFlags, Pair
from certagent.core.names import CLIENT_NODE
from certagent.core.principals import loads_any_principal, refused_by_loader
from certagent.core.roles import KINDS
from certagent.core.rules import UNPOOLED, key_mode_accepted

OLD = "refused up to 24.1"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the loader takes one `.crt` entry; `role` is "" where the name has none.

    Where the version of cockroach is not known and decides, it is accepted, as from 24.2 on, and `reason` says so.
    """

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
    folders = frozenset(f.name for f in unmanaged_files if f.kind == "directory")
    found = [_of_pair(p, gid, terms, folders, split=split) for p in pairs if p.cert is not None]
    found += [_of_stranger(f) for f in unmanaged_files if f.name.endswith(".crt")]
    return tuple(sorted(found, key=lambda v: v.name))


def _of_pair(pair: Pair, gid: int, terms: LoaderFlags, folders: frozenset[str], *, split: bool) -> Verdict:
    name, file = pair.name, f"{pair.name.stem}.crt"
    user = name.subject if name.kind.part == "user" else ""
    unnamed = _unnamed(pair, terms, split=split)
    strict = loads_any_principal(terms) is False
    reason = next(_refusals(pair, gid, terms, unnamed if strict else "", folders), "")
    perhaps = f"{OLD}: the certificate {unnamed}" if unnamed and loads_any_principal(terms) is None else ""
    return Verdict(file, name.role.value, user, not reason, reason or perhaps)


def _unnamed(pair: Pair, terms: LoaderFlags, *, split: bool) -> str:
    """Why a loader that checks principals refuses the certificate, or ""."""
    wanted = pair.name.kind.needed(pair.name.subject, split=split).principal
    return refused_by_loader(wanted, pair.leaf, terms) if pair.leaf and not pair.name.is_bundle else ""


def _refusals(pair: Pair, gid: int, terms: LoaderFlags, unnamed: str, folders: frozenset[str]) -> Iterator[str]:
    name, cert = pair.name, pair.cert
    if cert is None or (cert.leaf is None and cert.problem_kind != "unread"):
        yield (cert.problem if cert else None) or "cannot be read"
    elif not name.is_bundle:
        if unnamed and name.kind.loader_wants_principal:
            yield f"the certificate {unnamed}"
        yield from _key_refusals(pair, gid, terms, folders)
        if unnamed:  # the principal of a node is checked after everything is loaded
            yield f"the certificate {unnamed}"


def _key_refusals(pair: Pair, gid: int, terms: LoaderFlags, folders: frozenset[str]) -> Iterator[str]:
    """`folders`: the names of directories, which the loader skips."""
    key, file = pair.key, f"{pair.name.stem}.key"
    if key is None:
        yield f"{file} is a directory" if file in folders else f"{file} is missing"
    else:
        if key.file.kind != "file":
            yield key.problem or "the key is not a regular file"
        if not terms.skip_key_check and not key_mode_accepted(key.file, gid):
            yield f"the key's mode is {key.file.mode:04o}, so others may read it"
        if key.problem_kind in {"irregular", "unreadable"}:
            yield f"the key: {key.problem}"


def _of_stranger(file: File) -> Verdict:
    parsed = names.parse(names.stem_of(file.name))
    if file.kind == "directory":
        return Verdict(file.name, "", "", accepted=False, reason="a directory: cockroach skips it")
    reason = parsed.reason if isinstance(parsed, names.Unknown) else f"a {file.kind}"
    return Verdict(file.name, "", "", accepted=False, reason=reason)


def start_problem(found: tuple[Verdict, ...], pairs: tuple[Pair, ...]) -> str:
    """Given the verdicts and the files, return why a node would not come up with this directory, or ""."""
    return _load_problem(found) or next(filter(None, map(_tls_problem, pairs)), "")


def start_doubt(found: tuple[Verdict, ...]) -> str:
    """What keeps a node of an old version from starting, where the version is not known; or ""."""
    needed = {f"{kind.stem}.crt" for kind in KINDS if kind.at_start}
    doubtful = (v for v in found if v.name in needed and v.accepted and v.reason)
    return next((f"{v.name}: {v.reason}" for v in doubtful), "")


def _load_problem(found: tuple[Verdict, ...]) -> str:
    by_name = {v.name: v for v in found}
    for verdict in found:
        if not tenant_named(verdict):
            return f"{verdict.name}: the tenant's id is not an unsigned 64-bit number"
    for file, required in ((f"{k.stem}.crt", k.at_start == "required") for k in KINDS if k.at_start):
        verdict = by_name.get(file, Verdict(file, "", "", accepted=False, reason="the file is missing"))
        if required and not verdict.accepted:
            return f"{file}: {verdict.reason}"
        if verdict.role and not verdict.accepted:
            return f"{file}: {verdict.reason}; cockroach does not fall back to another file"
    return ""


def _tls_problem(pair: Pair) -> str:
    """Why Go cannot build a TLS configuration of a pair or bundle that a node uses from its start on, or ""."""
    kind, stem = pair.name.kind, pair.name.stem
    if not kind.at_start or pair.leaf is None or pair.cert is None:
        return ""
    if kind.bundle:
        return "" if pair.cert.pooled else f"{stem}.crt: {UNPOOLED}"
    if pair.key is None or pair.key.spki is None:
        return f"{stem}.key: {pair.key.problem if pair.key else 'the file is missing'}"
    return "" if pair.matched else f"{stem}.key does not match {stem}.crt"


def tenant_named(verdict: Verdict) -> bool:
    """A tenant's file names its tenant by number; one that does not ends the whole load, whatever is in it."""
    name = names.parse(names.stem_of(verdict.name)) if verdict.role else None
    return not isinstance(name, names.Name) or name.numbered
