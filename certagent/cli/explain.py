"""`certagent explain CODE`: what a finding means, where its rule comes from, and what to do."""

import argparse
import difflib

from certagent.cli.common import USAGE, Reply, complaint, json_option
from certagent.cli.showing import width, wrapped

LOOK = {  # how to see for oneself: by code, else by its area
    "name": "ls -l DIR; certagent check --certs-dir DIR",
    "cert": "certagent check --certs-dir DIR; openssl x509 -in DIR/NAME.crt -noout -text",
    "key": "ls -l DIR/NAME.key; certagent check --certs-dir DIR",
    "ca": "certagent status (each CA of a bundle by its key); openssl storeutl -noout -text -certs DIR/ca.crt",
    "bundle": "certagent bundle show; certagent rotation status",
    "layout": "certagent plan; certagent check --certs-dir DIR",
    "peer": "certagent rotation status; openssl s_client -connect HOST:PORT -starttls postgres -showcerts",
    "peers": "certagent rotation status; cockroach node status",
    "dir": "namei -l DIR; findmnt -T DIR; systemctl show certagent -p ReadWritePaths -p ProtectHome",
    "served": "certagent status; openssl s_client -connect HOST:PORT -starttls postgres -showcerts",
    "login": "certagent status; the log of cockroach",
    "process": "certagent status; ps -o pid,user,args -C cockroach; certagent check --pid PID",
    "authority": "certagent authority test NAME; certagent doctor",
    "renewal": "certagent history NAME; certagent plan; certagent authority test NAME",
    "install": "certagent history NAME; lsattr -d DIR DIR/*; findmnt -T DIR",
    "worker": "certagent doctor; uname -r; cat /sys/kernel/security/lsm",
    "ocsp": "certagent advise ocsp",
    "clock": "timedatectl; chronyc tracking",
    "ledger": "df STATE_DIR; df -i STATE_DIR; ls -ld STATE_DIR",
    "config": "certagent config check; journalctl -u certagent CERTAGENT_EVENT=config.rejected",
    "path": "findmnt -T PATH; timeout 5 stat PATH",
    "agent": "systemctl status certagent; journalctl -u certagent -n 50",
    "metrics": "ls -ld TEXTFILE_DIR; df TEXTFILE_DIR; certagent metrics",
    "watch": "sysctl fs.inotify; journalctl -u certagent",
}
PAGES = {
    "metrics": "metrics.md",
    "ocsp": "ocsp.md",
    "authority": "authorities.md",
    "layout": "layouts.md",
    "config": "configuration.md",
}


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("explain", help="explain the code of a finding: meaning, rule and remedy")
    parser.add_argument("code", nargs="?", default="", help="for example key.mode; default: list all codes")
    json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """One explanation, or the list."""
    from certagent.core.catalogue import FINDINGS
    from certagent.posix.manual import manual

    code = arguments.code
    if not code:
        rows = {c: (r.means, r.source, r.advice) for c, r in FINDINGS.items()}
        return Reply(0, "\n".join(f"{c:<20} {r.means}" for c, r in FINDINGS.items()), {"version": 1, "codes": rows})
    if code not in FINDINGS:
        near = difflib.get_close_matches(code, FINDINGS, 1)
        hint = f"did you mean {near[0]}?" if near else "`certagent explain` lists all codes"
        return complaint(f"there is no code {code!r}; {hint}", USAGE)
    rule = FINDINGS[code]
    look, page = LOOK.get(code) or LOOK[rule.area], PAGES.get(rule.area, "findings.md")
    document = {"version": 1, "code": code, "means": rule.means, "source": rule.source, "remedy": rule.advice}
    document |= {"look": look, "page": f"docs/{page}"}
    about = (f"{code}: {rule.means}", f"  rule: {rule.source}", f"  remedy: {rule.advice}")
    more = (f"  look: {look}", f"  severity: {' or '.join(rule.severities)}", f"  more: {manual()}docs/{page}")
    return Reply(0, "\n".join(part for line in (*about, *more) for part in wrapped(line, width(), 4)), document)
