"""One installation of a staged pair (or `recover`), for a test that kills it. argv: certs-dir, stem or `recover`."""

import os
import sys

from certagent.certs_dir.swap import Store
from certagent.certs_dir.swap.files import digest

path, what = sys.argv[1:3]
store = Store(path)
if what == "recover":
    os.write(2, b"BEGIN\n")
    store.recover()
else:
    row = store.staged()[0]
    os.write(2, b"BEGIN\n")
    store.install(what, (digest(row.cert), digest(row.key)), 0o600, (None, None))
