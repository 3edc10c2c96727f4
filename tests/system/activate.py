"""`activate.py PORT NAME PROGRAM...`: run a program with a listening socket, as systemd hands it over."""

import os
import socket
import sys

FIRST = 3


def main() -> None:
    port, name, *program = sys.argv[1:]
    made = socket.create_server(("127.0.0.1", int(port)))
    os.dup2(made.fileno(), FIRST)
    os.set_inheritable(FIRST, True)
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": name}
    os.execve(program[0], program, os.environ | told)  # noqa: S606 - that is what it is for


main()
