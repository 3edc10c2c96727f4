"""Private keys: by descriptor in the agent, by bytes in a confined child alone."""
