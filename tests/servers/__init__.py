"""Real servers for tests: one module each, one folder each with what it needs and an `install` script.

`tests/install` runs every `tests/servers/*/install`; Python programs go into virtual environments below `.servers/`,
so that no server's dependencies meet ours. A server that is not installed is a skip with the command to run, in CI a
failure.
"""
