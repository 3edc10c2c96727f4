"""Certificate authorities: the daemon's side (client), one module per CA type (backends), the worker between them."""
