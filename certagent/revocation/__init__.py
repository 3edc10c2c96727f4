"""Revocation of certificates: OCSP responders asked as cockroach asks them, revocation lists as a fallback.

A worker asks (`child.py`, started and confined as the one that asks a CA), for two reasons. The process that holds
managed keys has no network: untrusted answers are parsed in a process without keys. And a
deadline holds for everything, a resolver that hangs included, because a process can be ended and a thread cannot. It
costs a third of a second of one core, once for fifty certificates, every few minutes at most, and never while OCSP is
off: neither urllib3 nor an HTTP client is imported here. Rejected: plain threads in the daemon, for both reasons.
"""

from certagent.revocation.asking import Question, Reach, ask, asker

__all__ = ["Question", "Reach", "ask", "asker"]
