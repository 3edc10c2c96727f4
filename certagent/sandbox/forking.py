"""A process that forks: it makes a child for each request, and parses nothing but the agent's own questions.

A request is one datagram on standard input: a question as JSON, the seconds that its child may take, and descriptors.
The child hands them to `answer` of the module that this process was started for, which gives up all rights first. One
that is not done in time is killed here. Rejected: a new interpreter for each request, which costs sixty milliseconds
instead of six; and threads of the agent, in whose memory everything stays.
"""

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from certagent.posix.prctl import close_memory
from certagent.sandbox.loading import load_whole
from certagent.sandbox.readable import shared
from certagent.sandbox.worker_process import user_of

REQUEST = 1 << 16
FILES = 4
TICK_MS = 200
Answer = Callable[[dict[str, Any], list[int]], None]


def main() -> int:
    """`forking MODULE UID:GID`: make children until the agent is gone."""
    name, who = sys.argv[1:3]
    module = importlib.import_module(name)
    if (user := user_of(who)) is not None:
        load_whole(*module.LIBRARIES)  # perhaps the other user cannot read the interpreter
        _become(*user)
    _prepare()
    close_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a person who ends the agent at a terminal: it ends this one
    with socket.socket(fileno=os.dup(0)) as asked:
        _close_input()
        _serve(asked, module.answer)
    return 0


def _prepare() -> None:
    """Do once what each child would do, and let no child copy memory to look for garbage in what is there before it."""
    shared()
    gc.collect()
    gc.freeze()


def _close_input() -> None:
    """No child has the socket of the requests, by which it would get the descriptors of others."""
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)


def _become(uid: int, gid: int) -> None:
    """Become another user irrevocably; only root is told to."""
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _serve(asked: socket.socket, answer: Answer) -> None:
    running: dict[int, float] = {}
    poll = select.poll()
    poll.register(asked, select.POLLIN)
    while True:
        ready = poll.poll(TICK_MS if running else None)
        _reap(running)
        if not ready:
            continue
        data, files, _flags, _address = socket.recv_fds(asked, REQUEST, FILES)
        if not data:
            return
        request = json.loads(data)
        pid = os.fork()
        if pid == 0:
            asked.close()
            _answer(answer, request["question"], files)
        running[pid] = time.monotonic() + request["seconds"]
        for file in files:
            os.close(file)


def _reap(running: dict[int, float]) -> None:
    """Kill what is over its time, and wait for what has ended."""
    for pid, end in list(running.items()):
        if time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            del running[pid]


def _answer(answer: Answer, question: dict[str, Any], files: list[int]) -> None:
    """In the child: answer, and end without a word to anybody else."""
    code = 1
    with suppress(BaseException):
        answer(question, files)
        code = 0
    os._exit(code)
