"""Where the documentation of this installation is: what is printed names a path that exists."""

import os

PACKAGED = "/usr/share/doc/certagent/"  # by the packages
CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + "/"
PAGE = "docs/index.md"


def manual(checkout: str = CHECKOUT, packaged: str = PACKAGED) -> str:
    """What comes before `docs/PAGE.md` and `config.example.toml`: "" in a checkout, and where no package put them."""
    here, there = (os.path.exists(f"{place}{PAGE}") for place in (checkout, packaged))
    return packaged if there and not here else ""
