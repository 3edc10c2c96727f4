"""State that survives a restart: the ledger and the authorities' state."""
