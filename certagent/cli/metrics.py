"""`certagent metrics`: the status as metrics for Prometheus, on stdout or for those who ask a loopback port."""

import argparse
from typing import Any

from certagent.cli.common import UNKNOWN, USAGE, Reply, ask, complaint, config_option, named
from certagent.cli.status import observed
from certagent.core.metrics import agent_label, collected, exposition


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Register the verb."""
    parser = subparsers.add_parser("metrics", help="print metrics for Prometheus, or serve them on a loopback port")
    config_option(parser)
    about = "serve them there until it is stopped (default: `listen` of [metrics])"
    parser.add_argument("--listen", nargs="?", const="", metavar="HOST:PORT", help=about)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Reply:
    """Exit 0; 3 where the agent gives no answer in time, or the port cannot be opened."""
    if arguments.listen is not None:
        return _listen(arguments.config, arguments.listen)
    answer = ask(arguments.config, "status") or {"ok": True, "document": observed(arguments.config)}
    return reply_of(answer, arguments.config)


def reply_of(answer: dict[str, Any], path: str) -> Reply:
    """Given the agent's answer, or one of our own, and the configuration, return what is printed."""
    if not answer.get("ok"):
        return complaint(answer.get("error"), UNKNOWN)
    return Reply(text=text_of(answer["document"], path).rstrip("\n"))


def text_of(document: dict[str, Any], path: str) -> str:
    """Given a status document and the path of our configuration, return the metrics."""
    daemon = document["daemon"] or {"config": path}
    return exposition(collected(document, agent_label(daemon["config"])))


def _listen(path: str, given: str) -> Reply:
    from certagent.cli.exporter import Exporter
    from certagent.config.metrics import address

    where = given or named(path, "listen", "", "metrics")
    try:
        host, port = address(where)
    except ValueError as error:
        return complaint(f"--listen: {error}" + (f" (it is {where!r})" if where else ""), USAGE)

    def metrics() -> Reply:
        """What is answered: nothing is observed here where no agent answers."""
        answer = ask(path, "status") or {"error": "no agent answers; see systemctl status certagent"}
        return reply_of(answer, path)

    try:
        Exporter(host, port, metrics).run()
    except OSError as error:
        return complaint(f"cannot listen on {where}: {error.strerror}", UNKNOWN)
    return Reply()
