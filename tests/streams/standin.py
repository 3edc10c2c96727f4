"""The stand-in for cockroach, which dials its peers as well: with what it has loaded, as cockroach does."""

import threading
from contextlib import suppress

from certagent.demo.server import Server, main
from tests.streams.dialing import Dialer, Shown, obey


def shown(server: Server) -> Shown:
    """The main bundle verifies peers; client.node is shown to them, without one node. ValueError: nothing is loaded."""
    material = server.material
    roots, own = material.good("ca"), material.first("client.node", "node")
    if roots is None or own is None:
        raise ValueError("nothing is loaded for outgoing connections")
    return Shown(roots.cert, own.cert, own.key)


def dialing(server: Server) -> None:
    """From now on, as standard input says."""
    dialer = Dialer(lambda: shown(server))
    threading.Thread(target=obey, args=(dialer,), daemon=True).start()


if __name__ == "__main__":
    with suppress(BrokenPipeError):
        main(dialing)
