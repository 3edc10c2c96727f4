"""`certagent explain CODE`: what a finding means, where its rule comes from, and what to do."""

import argparse
import difflib

from certagent.cli.common import USAGE, Reply, complaint, json_option


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("explain", help="what a finding's code means and what to do")
    parser.add_argument("code", nargs="?", default="", help="such as key.mode; without one: all of them")
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """One explanation, or the list."""
    from certagent.core.catalogue import FINDINGS

    code = arguments.code
    if not code:
        return Reply(0, "\n".join(f"{c:<20} {t[0]}" for c, t in FINDINGS.items()), {"version": 1, "codes": FINDINGS})
    if code not in FINDINGS:
        near = difflib.get_close_matches(code, FINDINGS, 1)
        hint = f"did you mean {near[0]}?" if near else "`certagent explain` lists them"
        return complaint(f"there is no code {code!r}; {hint}", USAGE)
    means, source, remedy = FINDINGS[code]
    document = {"version": 1, "code": code, "means": means, "source": source, "remedy": remedy}
    return Reply(0, f"{code}: {means}\n  rule: {source}\n  remedy: {remedy}", document)
