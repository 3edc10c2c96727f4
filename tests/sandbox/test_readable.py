"""What a confined process may read is found once, and a child that resolved a name can send no datagram any more."""

import os
import subprocess
import sys

import pytest

from certagent.sandbox.readable import LIBRARIES, RESOLVER, TRUSTED, interpreter, shared

NARROWED = """
import socket
from dataclasses import replace
from certagent.sandbox import Profile, confine, refuse_more

def made():
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        return error.strerror
    return "made"

profile = Profile(connect=(1,))
confine(replace(profile, datagrams=True), None, "", 60)
before = made()
refuse_more(profile)
socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
print(before, made(), sep="|")
"""


def test_no_path_is_lost() -> None:
    """Every path is among the shared ones, or lies below one of them."""
    found = {os.path.realpath(p) for p in shared()}
    for path in (*RESOLVER, *TRUSTED, *LIBRARIES, *interpreter()):
        real = os.path.realpath(path)
        assert real in found or any(real.startswith(f"{other}/") for other in found), path


def test_none_is_named_for_nothing() -> None:
    """Of Python and the libraries none lies below another one: each costs a rule in each child."""
    real = [os.path.realpath(p) for p in shared() if p in {*LIBRARIES, *interpreter()}]
    assert [p for p in real if any(p.startswith(f"{other}/") for other in real)] == []
    assert len(real) == len(set(real))


@pytest.mark.slow
def test_datagrams_are_given_up_after_the_name() -> None:
    """UDP is there to resolve a name, and is refused after that; a stream can still be made."""
    run = subprocess.run([sys.executable, "-c", NARROWED], capture_output=True, text=True, timeout=300, check=True)
    assert run.stdout.strip() == "made|Operation not permitted"
