"""What outlives the process: the ledger and the authorities' state."""
