"""Kernel calls that Python lacks: openat2, effective ids, flock, background reads, the clock."""
