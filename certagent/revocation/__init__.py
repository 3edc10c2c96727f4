"""Revocation of certificates: OCSP responders asked as cockroach asks them, revocation lists as a fallback.

The asking is done by a short-lived process of its own (`child.py`), for two reasons. Whoever holds managed keys has no
network beyond the probe: answers from strangers are parsed where there is no key to lose. And a deadline holds for
everything, a resolver that hangs included, because a process can be ended and a thread cannot. What it costs, a third
of a second of one core, is paid once for fifty certificates, every few minutes at most, and never while OCSP is off:
neither urllib3 nor an HTTP client is imported here. Rejected: plain threads in the daemon, for both reasons.
"""

from certagent.revocation.asking import Question, ask, end

__all__ = ["Question", "ask", "end"]
