"""The default form of the suite, which CI runs, and the long one: CERTAGENT_FAULTS=long."""

import os

LONG = os.environ.get("CERTAGENT_FAULTS") == "long"
EVERY = 1 if LONG else 7  # of the ledger's own calls, which are most of all
