"""What every confined process may read: the resolver's files, trusted certificates, libraries, and Python itself."""

import os
import ssl
import sys
from functools import cache

RESOLVER = (
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/run/systemd/resolve",
)
TRUSTED = (
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/openssl.cnf",
    "/etc/pki/ca-trust/extracted",
    "/etc/ca-certificates/extracted",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
)
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")


@cache
def shared() -> tuple[str, ...]:
    """The paths, without those that lie below another one of them; found once in each process.

    A process that forks finds them before, for all its children: each of them would walk all modules for it. A path
    that is not there yet stays among them, and so does one that may become a link.
    """
    whole = {p: os.path.realpath(p) for p in sorted({*LIBRARIES, *interpreter()})}
    tops = {real: path for path, real in whole.items() if not any(_below(real, other) for other in whole.values())}
    return (*RESOLVER, *TRUSTED, *sorted(_openssl()), *tops.values())


def _below(path: str, other: str) -> bool:
    return path.startswith(f"{other}/")


def _openssl() -> set[str]:
    paths = ssl.get_default_verify_paths()
    return {p for p in (paths.cafile, paths.capath) if p}


def interpreter() -> set[str]:
    """Where modules are loaded from: the standard library, site-packages, and the packages that are loaded already.

    Never a whole entry of sys.path, which may be the working directory from which the agent was started.
    """
    found = {os.path.dirname(os.__file__)}
    found |= {p for p in sys.path if p.endswith(("/site-packages", "/dist-packages"))}
    for name, module in list(sys.modules.items()):
        if "." in name or name == "__main__":
            continue
        found |= {p for p in getattr(module, "__path__", None) or [getattr(module, "__file__", None)] if p}
    return {p for p in found if p.startswith("/") and p != "/"}


def shown(path: str) -> str:
    """The directory that every worker may read and that contains the path; "" if there is none."""
    places = {os.path.realpath(p) for p in (*TRUSTED, *_openssl(), *LIBRARIES, *interpreter())}
    return next((p for p in sorted(places) if f"{os.path.realpath(path)}/".startswith(f"{p}/")), "")
