"""`python -m certagent`."""

import sys

from certagent.cli import main

sys.exit(main())
