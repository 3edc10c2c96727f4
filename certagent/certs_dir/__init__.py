"""One certs-dir: read it into facts, verify, stage, swap and recover its files.

Anyone who may write to the directory may put a FIFO, a device, a link to /etc/shadow or an endless file there. So each
name is examined by lstat first, only regular files are opened (by directory fd, without blocking), only links that stay
inside are followed, and one mebibyte at most is read. Rejected: opening first and examining afterwards (a FIFO blocks,
a zero device ends the process), and os.path functions (they follow links).
"""

from certagent.certs_dir.as_cockroach import Runner, load
from certagent.certs_dir.reading import read_live, read_live_key
from certagent.certs_dir.scanner import Scan, Scanner

__all__ = ["Runner", "Scan", "Scanner", "load", "read_live", "read_live_key"]
