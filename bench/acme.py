"""One certificate by http-01 from the same pebble: `certagent run --once`, lego and certbot, whole processes.

All three have an account already and keep what they issue on disk; certagent's run also judges, installs and looks for
processes to reload. Pebble neither sleeps nor refuses nonces, and reuses no authorization.
"""

import os
import pwd
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.agents import CONFIG, certagent
from bench.figures import Figure
from tests.servers.pebble import Pebble

ROUNDS = 7
NAME = "console.test"
NEEDED = ("pebble", "lego", "certbot")
QUIET = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
PUBLIC = """
[certs_dir.file.ui]
authority = "public"
names = ["{name}"]
[certs_dir.file.ca-ui]
authority = "public"
[authority.public]
type = "acme"
directory_url = "{url}"
terms_accepted = true
http_port = {port}
listen_address = "127.0.0.1"
tls_roots = "{ca}"
issuing_roots = "{roots}"
"""


def measure(base: Path) -> list[Figure]:
    """Each in turn, so that the machine's moods meet all of them."""
    if absent := [n for n in NEEDED if shutil.which(n) is None]:
        print(f"skipped: no {', '.join(absent)} here: apt-get install {' '.join(absent)}", file=sys.stderr)
        return []
    with Pebble(base / "pebble", environ=QUIET) as server:
        runs = {"certagent": _ours(base, server), "lego": _lego(base, server), "certbot": _certbot(base, server)}
        for run in runs.values():
            run()
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - begin)
    ours = 1e3 * statistics.median(seconds["certagent"])
    peers = ("lego", "certbot")
    return [Figure(f"ACME issuance against {p}", ours, 1e3 * statistics.median(seconds[p]), "ms") for p in peers]


def _run(command: list[str], **environ: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | environ, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _ours(base: Path, server: Pebble) -> Callable[[], None]:
    """Every run finds the console's pair missing."""
    certs, roots, config = base / "certs", base / "roots.pem", base / "config.toml"
    certs.mkdir(mode=0o700)
    roots.write_bytes(server.root())
    table = PUBLIC.format(name=NAME, url=server.directory_url, port=server.http_port, ca=server.ca, roots=roots)
    user = pwd.getpwuid(os.getuid()).pw_name
    config.write_text(CONFIG.format(base=base, user=user) + table)

    def run() -> None:
        for kind in ("crt", "key"):
            (certs / f"ui.{kind}").unlink(missing_ok=True)
        _run(certagent("run", "--once", "-c", str(config)))
        assert (certs / "ui.crt").exists()

    return run


def _lego(base: Path, server: Pebble) -> Callable[[], None]:
    words = ["lego", "--accept-tos", "--email", "ops@example.com", "--path", str(base / "lego"), "--domains", NAME]
    words += ["--server", server.directory_url, "--http", "--http.port", f"127.0.0.1:{server.http_port}", "run"]
    return lambda: _run(words, LEGO_CA_CERTIFICATES=str(server.ca))


def _certbot(base: Path, server: Pebble) -> Callable[[], None]:
    words = ["certbot", "certonly", "--standalone", "--non-interactive", "--agree-tos", "--force-renewal"]
    words += ["--register-unsafely-without-email", "--server", server.directory_url, "-d", NAME]
    words += ["--http-01-port", str(server.http_port), "--http-01-address", "127.0.0.1"]
    for kind in ("config", "work", "logs"):
        words += [f"--{kind}-dir", str(base / "certbot" / kind)]
    return lambda: _run(words, REQUESTS_CA_BUNDLE=str(server.ca))
