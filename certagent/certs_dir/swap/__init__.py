"""Replace a certificate and its key so that a crash at any moment can be recovered; set modes and owners.

Every file is reached by directory fd, and no link is followed. Measured beforehand: without fsync every strategy left
mismatched pairs on xfs; two renames without a journal left a mismatched pair after one kill in fifteen; an exchange of
directories fails in bind mounts and on mount points. So: stage in a persistent sub-directory, check what was read back,
commit by renaming an intent into place, rename the key, then the certificate. Recovery goes by the keys and the
certificates that it finds, never by the text of the intent. No temporary file is made in the certs-dir itself: a name
that vanishes while cockroach's loader reads the directory makes it report that there are no certificates.
"""

from certagent.certs_dir.swap import pending
from certagent.certs_dir.swap.modes import restrict
from certagent.certs_dir.swap.store import Store

__all__ = ["Store", "pending", "restrict"]
