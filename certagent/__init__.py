"""certagent: the certificate agent for CockroachDB hosts."""

__version__ = "0.2.0"
