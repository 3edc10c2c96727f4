"""certagent: the certificate agent for CockroachDB hosts."""

__version__ = "0.1.0"
