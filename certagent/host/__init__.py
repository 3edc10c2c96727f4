"""The host: one effect each, no decisions."""
