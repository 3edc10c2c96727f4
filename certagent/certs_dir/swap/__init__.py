"""Stage, intent, fsync, rename, recover; modes and owners. All by directory fd, never following a link.

Measured before it was written: without fsync every strategy tore pairs on xfs; two renames without a journal leave
a mismatched pair at rest after one kill in fifteen; exchanging directories fails in bind mounts and on mount
points. So: stage in a persistent sub-directory, judge what was read back, commit by renaming an intent into place,
rename the key, then the certificate. Recovery believes the keys and certificates it finds, never the intent's text.
Nothing temporary is made in the certs-dir itself: a name that vanishes under cockroach's loader makes it report
that there are no certificates.
"""

from certagent.certs_dir.swap import pending
from certagent.certs_dir.swap.modes import restrict
from certagent.certs_dir.swap.store import Store

__all__ = ["Store", "pending", "restrict"]
