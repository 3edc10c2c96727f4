"""One certs-dir: read it into facts, judge, stage, swap and recover its files.

Anyone who may write the directory may put a FIFO, a device, a link to /etc/shadow or an endless file there. So:
lstat first, open only regular files, by directory fd, without following (but for links that stay inside), without
blocking, and read one mebibyte at most. Rejected: opening first and looking afterwards (a FIFO blocks, a zero device
ends the process), and os.path functions (they follow).
"""

from certagent.certs_dir.as_cockroach import Runner, load
from certagent.certs_dir.reading import LIMIT, read_live
from certagent.certs_dir.scanner import Scan, Scanner

__all__ = ["LIMIT", "Runner", "Scan", "Scanner", "load", "read_live"]
