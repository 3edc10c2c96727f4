"""`certagent explain CODE`: what a finding means, where its rule comes from, and what to do."""

import argparse
import difflib

from certagent.cli.common import USAGE, Reply, complaint, json_option


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("explain", help="explain the code of a finding: meaning, rule and remedy")
    parser.add_argument("code", nargs="?", default="", help="for example key.mode; default: list all codes")
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """One explanation, or the list."""
    from certagent.core.catalogue import FINDINGS

    code = arguments.code
    if not code:
        rows = {c: (r.means, r.source, r.advice) for c, r in FINDINGS.items()}
        return Reply(0, "\n".join(f"{c:<20} {r.means}" for c, r in FINDINGS.items()), {"version": 1, "codes": rows})
    if code not in FINDINGS:
        near = difflib.get_close_matches(code, FINDINGS, 1)
        hint = f"did you mean {near[0]}?" if near else "`certagent explain` lists all codes"
        return complaint(f"there is no code {code!r}; {hint}", USAGE)
    rule = FINDINGS[code]
    document = {"version": 1, "code": code, "means": rule.means, "source": rule.source, "remedy": rule.advice}
    return Reply(0, f"{code}: {rule.means}\n  rule: {rule.source}\n  remedy: {rule.advice}", document)
