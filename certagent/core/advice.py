"""Whether `security.ocsp.mode = strict` is safe on a host: what cockroach would do with each responder's answers.

It asks the responders of a certificate in the order in which the certificate names them, all within one timeout; the
first that says good or revoked decides. Revoked fails in every mode, anything else but good fails in strict; a
certificate that names no responder is not checked at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from certagent.core.facts import Answer, Checked, Leaf, Revocation
from certagent.core.policy import OcspRule
from certagent.core.status import rfc3339

Outcome = Literal["passes", "fails", "not-checked"]
Safety = Literal["safe", "nothing-to-check", "unsafe-in-strict", "breaks-now"]
EXITS: dict[str, int] = {"safe": 0, "nothing-to-check": 1, "unsafe-in-strict": 1, "breaks-now": 2}
SAYS: dict[str, str] = {
    "safe": "strict is safe here",
    "nothing-to-check": (
        "strict would check nothing here: no certificate names a responder, so no revocation would be noticed"
    ),
    "unsafe-in-strict": "strict is NOT safe here: it would refuse connections; lax is fine",
    "breaks-now": "connections are refused already",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """One live leaf, and every answer about its chain."""

    file: str
    leaf: Leaf
    found: Revocation


def directory(path: str, rule: OcspRule, evidence: Iterable[Evidence]) -> dict[str, Any]:
    """Given the evidence of one certs-dir and what its cluster's mode is said to be, return the advice."""
    rows = [row for e in evidence for row in _chain(rule, e)]
    unchecked = sum(r["strict"] == "not-checked" for r in rows)
    safety: Safety = max((_safety(rule, r) for r in rows), key=list(EXITS).index, default="nothing-to-check")
    if unchecked == len(rows):
        safety = "nothing-to-check"
    says = SAYS[safety] if rows else "there is no certificate here that can be checked"
    if 0 < unchecked < len(rows):
        says += f"; {unchecked} of {len(rows)} certificates name no responder and are never checked"
    seconds = rule.timeout.total_seconds()
    return {
        "path": path,
        "mode": rule.mode,
        "timeout": seconds,
        "safety": safety,
        "message": says,
        "certificates": rows,
    }


def document(directories: list[dict[str, Any]], now: datetime) -> dict[str, Any]:
    """The advice on every certs-dir, and the exit code of the worst."""
    worst = max((d["safety"] for d in directories), key=list(EXITS).index, default="nothing-to-check")
    return {
        "version": 1,
        "now": rfc3339(now),
        "safety": worst,
        "exit": EXITS[worst],
        "message": SAYS[worst],
        "certs_dirs": directories,
    }


def _chain(rule: OcspRule, evidence: Evidence) -> list[dict[str, Any]]:
    if not evidence.found.chain:
        alone = Checked(evidence.leaf.fingerprint, evidence.leaf.subject)
        message = (
            f"{evidence.found.problem or 'nothing could be asked'}; cockroach refuses the certificate before it"
            " asks a responder"
        )
        broken = _row(rule, evidence, alone) | {"message": message, "remedy": "certagent check"}
        return [broken | {"lax": "fails", "strict": "fails"}]
    return [_row(rule, evidence, checked) for checked in evidence.found.chain]


def _row(rule: OcspRule, evidence: Evidence, checked: Checked) -> dict[str, Any]:
    lax, strict, why = _as_cockroach(checked, rule.timeout)
    own = checked.fingerprint == evidence.leaf.fingerprint
    message, remedy = _advice(evidence.file, checked, lax, strict, why, own=own)
    return {
        "file": evidence.file,
        "position": "leaf" if own else "issuer",
        "subject": checked.subject,
        "fingerprint": checked.fingerprint,
        "ocsp": list(checked.ocsp),
        "responders": [_answer(a) for a in checked.answers],
        "lax": lax,
        "strict": strict,
        "message": message,
        "remedy": remedy,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    moments = {k: rfc3339(getattr(answer, k)) for k in ("at", "this_update", "next_update", "revoked_at")}
    usable = answer.status != "unreachable"  # an answer with an invalid signature does not count
    words = {"source": answer.source, "url": answer.url, "status": answer.status, "reason": answer.reason}
    return {**words, "latency_ms": answer.latency_ms, "signature_verified": usable, **moments}


def _as_cockroach(checked: Checked, timeout: timedelta) -> tuple[Outcome, Outcome, str]:
    """(lax, strict, why): the responders in order, until the timeout that they share is over."""
    if not checked.ocsp:
        return "not-checked", "not-checked", "the certificate names no OCSP responder"
    spent, reasons = timedelta(), []
    for answer in (a for a in checked.answers if a.source == "ocsp"):
        spent += timedelta(milliseconds=answer.latency_ms)
        if spent > timeout:
            reasons.append(
                f"{answer.url}: no answer within {timeout.total_seconds():g} s, the timeout for all responders together"
            )
            break
        if answer.status == "good":
            return "passes", "passes", ""
        if answer.status == "revoked":
            return "fails", "fails", f"{answer.url} says revoked" + (f" ({answer.reason})" if answer.reason else "")
        reasons.append(f"{answer.url}: {answer.reason or answer.status}")
    return "passes", "fails", "; ".join(reasons) or "no responder was asked"


def _advice(file: str, checked: Checked, lax: Outcome, strict: Outcome, why: str, *, own: bool) -> tuple[str, str]:
    """(message, remedy), one sentence each."""
    stem = file.removesuffix(".crt")
    if strict == "passes":
        return "the responder says good", ""
    if strict == "not-checked":
        remedy = f"have the CA add authorityInfoAccess to its certificates, then certagent renew {stem}"
        return f"{why}: cockroach never checks it and would not notice a revocation", remedy
    if lax == "fails":
        remedy = f"certagent renew {stem}" if own else "have the CA issue from another intermediate, then renew"
        return f"{why}: refused in lax and strict", remedy
    if checked.by_ocsp == "unknown":
        return f"{why}: refused in strict", "register the certificate with the CA's responder, or renew it"
    return (
        f"{why}: refused in strict",
        "make sure that the responder answers every host of the cluster within the timeout",
    )


def _safety(rule: OcspRule, row: dict[str, Any]) -> Safety:
    if row["lax"] == "fails" or (rule.mode == "strict" and row["strict"] == "fails"):
        return "breaks-now"
    return "unsafe-in-strict" if row["strict"] == "fails" else "safe"
