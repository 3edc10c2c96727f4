"""Go's own verdicts: oracle.go, built once, asked in one go."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

from tests.servers.process import SERVERS, missing, program

STRICT = "x509negativeserial=0,x509rsacrt=1,urlstrictcolons=1"  # as in a program whose go.mod names the newest Go
INSTALL = "tests/servers/go/install"


@lru_cache
def oracle(least: int = 0) -> str:
    """The built program; a skip where there is no Go, or one older than 1.`least`."""
    go = shutil.which("go", path=str(SERVERS / "go" / "bin")) or program("go", INSTALL)
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("go").split(".")[1]) < least:
        missing(f"Go 1.{least}, only {version},", INSTALL)
    out = Path(mkdtemp(prefix="certagent-go-"))
    environ = os.environ | {"GOCACHE": str(SERVERS / "go-cache"), "GO111MODULE": "off", "GOTOOLCHAIN": "local"}
    source = Path(__file__).parent / "oracle.go"
    subprocess.run([go, "build", "-o", str(out / "oracle"), str(source)], check=True, env=environ, timeout=300)
    return str(out / "oracle")


def ask(questions: Iterable[tuple[bytes, bytes, str, int]], least: int = 0) -> list[str]:
    """Given certificates, bundle, usage ("": parse only) and moment, return each error, "" where there is none."""
    return _asked([{"certs": _text(c), "bundle": _text(b), "usage": u, "at": t} for c, b, u, t in questions], least)


def ask_pairs(pairs: Iterable[tuple[bytes, bytes]]) -> list[str]:
    """Given certificate and key files, return what tls.X509KeyPair says of each, "" where it takes them."""
    return _asked([{"certs": _text(c), "key": _text(k), "usage": "pair"} for c, k in pairs], 0)


def ask_pools(bundles: Iterable[bytes]) -> list[str]:
    """Given trust bundles, return what a pool says of each, "" where there is a certificate to verify by."""
    return _asked([{"bundle": _text(b), "usage": "pool"} for b in bundles], 0)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _asked(questions: list[dict[str, object]], least: int) -> list[str]:
    lines = "\n".join(json.dumps(q) for q in questions) + "\n"
    environ = os.environ | {"GODEBUG": STRICT}
    done = subprocess.run([oracle(least)], input=lines, capture_output=True, text=True, check=True, env=environ)
    return [json.loads(line) for line in done.stdout.splitlines()]
