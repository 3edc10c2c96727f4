"""Where certificates come from: one file per backend."""
