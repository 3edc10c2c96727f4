"""`certagent explain CODE`: what a finding means, where its rule comes from, and what to do."""

import argparse
import difflib
import sys

from certagent.cli.common import USAGE, emit, json_option


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("explain", help="what a finding's code means and what to do")
    parser.add_argument("code", nargs="?", default="", help="such as key.mode; without one: all of them")
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print one explanation, or the list."""
    from certagent.core.catalogue import FINDINGS

    if not arguments.code:
        emit({"version": 1, "codes": FINDINGS}) if arguments.json else print(
            "\n".join(f"{c:<20} {t[0]}" for c, t in FINDINGS.items())
        )
        return 0
    if arguments.code not in FINDINGS:
        near = difflib.get_close_matches(arguments.code, FINDINGS, 1)
        hint = f"; did you mean {near[0]}?" if near else "; `certagent explain` lists them"
        print(f"certagent: there is no code {arguments.code!r}{hint}", file=sys.stderr)
        return USAGE
    means, source, remedy = FINDINGS[arguments.code]
    document = {"version": 1, "code": arguments.code, "means": means, "source": source, "remedy": remedy}
    emit(document) if arguments.json else print(f"{arguments.code}: {means}\n  rule: {source}\n  remedy: {remedy}")
    return 0
