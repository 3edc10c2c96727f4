"""Requests that wait for their answer: the key and the CSR, kept in the staging area until a CA has answered.

They are written before the CA is asked, so that an answer that comes after a crash, or days later by hand, still finds
its key. Each request records what it asks for; if the configuration asks for something else by then, a new request is
made.
"""

from certagent.certs_dir.swap.area import PENDING, exists
from certagent.certs_dir.swap.files import read, read_key, remove, write
from certagent.certs_dir.swap.stored import Draft
from certagent.certs_dir.swap.sweep import changing


def keep(path: str, stem: str, mark: str, draft: Draft) -> None:
    """Remember a request. The CSR comes last: one that is there has its key."""
    with changing(path) as area, area.sub(PENDING) as fd:
        remove(fd, f"{stem}.csr")
        remove(fd, f"{stem}.key")
        if draft.key is not None:
            write(fd, f"{stem}.key", draft.key)
        write(fd, f"{stem}.csr", f"{mark}\n".encode() + draft.csr)


def kept(path: str, stem: str, mark: str) -> Draft | None:
    """The request that waits under that mark, or None."""
    with changing(path) as area, area.sub(PENDING) as fd:
        found = read(fd, f"{stem}.csr")
        if found is None or not found.startswith(f"{mark}\n".encode()):
            return None
        return Draft(csr=found.partition(b"\n")[2], key=read_key(fd, f"{stem}.key"))


def forget(path: str, stem: str) -> None:
    """Remove a request that was answered or refused. A CSR without its key would pass for one of the live key."""
    with changing(path) as area, area.sub(PENDING) as fd:
        remove(fd, f"{stem}.csr")
        remove(fd, f"{stem}.key")


def only(path: str, stems: frozenset[str]) -> None:
    """Remove the requests of all other stems, which are no longer wanted. Raises HostError."""
    if not exists(path, PENDING):
        return
    with changing(path, make=False) as area, area.sub(PENDING) as fd:
        for name in area.listed(PENDING):
            if name.endswith((".csr", ".key")) and name.rpartition(".")[0] not in stems:
                remove(fd, name)
