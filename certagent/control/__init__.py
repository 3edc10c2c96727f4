"""The control socket: its server and its client."""
