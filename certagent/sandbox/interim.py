"""Answers before the answer: 1xx responses, such as 103 Early Hints, are skipped (RFC 9110, section 15.2).

Python's http.client passes over 100 alone, and takes any other one for the final answer, without a body.
"""

import http.client

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

MOST = 32  # of them before one answer
INTERIM = range(102, 200)  # 100 is http.client's own matter, and 101 is a final answer: the protocol changes


class Final(http.client.HTTPResponse):
    """The first response that is not an interim one."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MOST):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status not in INTERIM:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {MOST} interim responses")


class Plain(HTTPConnection):
    """Without TLS."""

    response_class = Final


class Secure(HTTPSConnection):
    """With TLS."""

    response_class = Final


class PlainPool(urllib3.HTTPConnectionPool):
    """Of such connections."""

    ConnectionCls = Plain


class SecurePool(urllib3.HTTPSConnectionPool):
    """Of such connections."""

    ConnectionCls = Secure


def passing_over(pool: urllib3.PoolManager) -> urllib3.PoolManager:
    """The same manager, whose connections pass over interim responses."""
    pool.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pool
