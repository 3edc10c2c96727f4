"""The running agent: one loop that observes, decides and acts."""
