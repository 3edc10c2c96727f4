"""The man pages, from the command line and from config.example.toml: manual.py DIRECTORY."""

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from argparse_manpage.manpage import Manpage

from certagent import __version__
from certagent.cli import parser

EXAMPLE = Path(__file__).parents[1] / "config.example.toml"


def main() -> None:
    """Write man1/certagent.1, a page for each verb, and man5/certagent.toml.5."""
    base = Path(sys.argv[1])
    top, listed = parser(), commands(parser())
    pages = {"certagent": page("certagent", top)}
    for verb, below in listed.items():
        pages[f"certagent-{verb}"] = page(f"certagent-{verb}", below)
    for name, text in pages.items():
        (base / "man1" / f"{name}.1").write_text(text, encoding="utf-8")
    (base / "man5" / "certagent.toml.5").write_text(settings(), encoding="utf-8")


def commands(top: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb."""
    found: dict[str, argparse.ArgumentParser] = next(
        action.choices for action in top._actions if isinstance(action, argparse._SubParsersAction)
    )
    return found


def page(name: str, verb: argparse.ArgumentParser) -> str:
    """One page of section 1. That of the program only names the verbs: each has a page of its own."""
    if name == "certagent":
        for word, below in (found := commands(verb)).items():
            found[word] = argparse.ArgumentParser(
                below.prog, argparse.SUPPRESS, f"see certagent-{word}(1)", add_help=False
            )
    about = (verb.description or "").rstrip(".")
    data = {"project_name": "certagent", "version": __version__, "manual_title": "certagent", "date": stamp()}
    made = Manpage(verb, format="single-commands-section", _data=data | {"description": about})
    made.prog = name
    text = str(made).replace(".SH\nPOSITIONAL ARGUMENTS", ".SH\nCOMMANDS") if name == "certagent" else str(made)
    return f"{text}.SH SEE ALSO\n{see(name)}\n"


def see(name: str) -> str:
    """Where more is."""
    others = [".BR certagent.toml (5)"] if name == "certagent" else [".BR certagent (1),", ".BR certagent.toml (5)"]
    return "\n".join([*others, ".PP", "/usr/share/doc/certagent/README.md"])


def settings() -> str:
    """The page of section 5: every setting with its default, as config.example.toml has them."""
    lines = EXAMPLE.read_text(encoding="utf-8").replace("\\", "\\e").splitlines()
    head = [
        f'.TH CERTAGENT.TOML 5 "{stamp()}" "certagent {__version__}" "certagent"',
        ".SH NAME",
        "certagent.toml \\- the configuration of certagent",
        ".SH DESCRIPTION",
        "The agent reads /etc/certagent/config.toml; the units certagent@NAME and certagent-root read",
        "/etc/certagent/NAME.toml and /etc/certagent/root.toml.",
        "/usr/share/doc/certagent/docs/configuration.md explains the settings.",
        ".SH EXAMPLE",
        ".nf",
    ]
    shown = [f"\\&{line.replace('-', chr(92) + '-')}" for line in lines]
    return "\n".join([*head, *shown, ".fi", ".SH SEE ALSO", ".BR certagent (1)", ""])


def stamp() -> str:
    """The date of the commit."""
    return f"{datetime.fromtimestamp(int(os.environ['SOURCE_DATE_EPOCH']), UTC):%Y-%m-%d}"


if __name__ == "__main__":
    main()
