"""The JSON Schemas of what is printed: each document of --json.

A document may get a field that its schema does not have; a reader ignores it. The words that a field may have are those
of the types from which the document is made.
"""

from typing import get_args

from certagent.core import advice, bundles, doctor, proof
from certagent.core.facts.members import Look, Word
from certagent.core.facts.processes import Process, Served
from certagent.core.facts.records import Attempt
from certagent.core.facts.revocation import Answer, Status, Verdict
from certagent.core.findings import Severity
from certagent.core.policy import OcspRule, Policy
from certagent.core.renewals import Outcome as Ended
from certagent.core.rotation import phases
from certagent.core.shapes import (
    DRAFT,
    FLAG,
    MOMENT,
    NUMBER,
    TEXT,
    Shape,
    document,
    field,
    maybe,
    record,
    rows,
    words,
)
from certagent.core.trial import Step

SEVERITY: Shape = {"enum": [*get_args(Severity), "unknown"]}
FINDING = record(code=TEXT, severity=words(Severity), file=TEXT, message=TEXT, remedy=TEXT)
ATTEMPT = record(at=MOMENT, outcome=field(Attempt, "outcome"), reason=TEXT)
ACTION = record(action=TEXT, subject=TEXT, reason=TEXT)

SERVED = record(
    address=TEXT,
    pid=maybe(NUMBER),
    fingerprint=maybe(TEXT),
    chain_ends=maybe(MOMENT),
    at=MOMENT,
    outcome=field(Served, "outcome"),
    reason=TEXT,
)
REVOCATION = record(status=words(Verdict), responder=maybe(TEXT), at=MOMENT, next_update=maybe(MOMENT), reason=TEXT)
FILE = record(
    name=TEXT,
    fingerprint=maybe(TEXT),
    not_before=maybe(MOMENT),
    not_after=maybe(MOMENT),
    chain_ends=maybe(MOMENT),
    chain_ends_by=maybe(TEXT),
    serial=maybe(TEXT),
    subject=maybe(TEXT),
    issuer=maybe(TEXT),
    sans=rows(TEXT),
    authority=maybe(TEXT),
    authorities=rows(TEXT),
    renew_at=maybe(MOMENT),
    window=maybe(record(start=MOMENT, end=MOMENT, explanation=TEXT)),
    attempts=NUMBER,
    last_attempt=maybe(ATTEMPT),
    last_renewal=maybe(record(at=MOMENT, outcome=words(Ended), authority=TEXT, reason=TEXT)),
    rolled_back=maybe(record(at=MOMENT, fingerprint=TEXT, reason=TEXT)),
    proof=words(proof.Kind),
    owed=rows(TEXT),
    revocation=maybe(REVOCATION),
    served=rows(SERVED),
    verified_by=maybe(TEXT),
    anchors=rows(TEXT),
    cas=rows(record(key=TEXT, subject=TEXT, fingerprint=TEXT, not_after=MOMENT)),
)
PROCESS = record(
    pid=NUMBER,
    user=TEXT,
    command=TEXT,
    state=field(Process, "state"),
    listeners=rows(TEXT),
    last_signal=maybe(ATTEMPT),
    owed=rows(TEXT),
)
LOOK = record(
    address=TEXT,
    at=MOMENT,
    offered=TEXT,
    fingerprint=TEXT,
    outcome=field(Look, "outcome"),
    reason=TEXT,
    served=maybe(TEXT),
    served_since=maybe(MOMENT),
    anchors=rows(TEXT),
    ca_ends=maybe(MOMENT),
)
MEMBERS = record(
    source=maybe({"enum": ["peers", "peers_file", "join"]}),
    listed=rows(TEXT),
    own=maybe(TEXT),
    problem=maybe(TEXT),
    live=maybe(NUMBER),
    live_at=maybe(MOMENT),
    looks=rows(LOOK),
)
ROTATION = record(
    bundle=TEXT,
    root=TEXT,
    subject=TEXT,
    former=rows(TEXT),
    phase=words(phases.Phase),
    waits_for=words(phases.Waits),
    reason=TEXT,
    next=TEXT,
    first=FLAG,
    words=rows(field(Word, "kind")),
    accepting=NUMBER,
    serving=NUMBER,
    members=rows(
        record(address=TEXT, own=FLAG, accepts=maybe(FLAG), serves=words(phases.Serves), reason=TEXT, forced=FLAG)
    ),
)
NEXT = record(action=TEXT, file=TEXT, at=MOMENT, reason=TEXT)
STATUS = record(
    host=TEXT,
    severity=SEVERITY,
    now=MOMENT,
    daemon=maybe(record(pid=NUMBER, started=MOMENT, version=TEXT, config=TEXT, config_problem=maybe(TEXT))),
    configuration=record(digest=TEXT, rescan_seconds={"type": "number"}),
    certs_dirs=rows(
        record(
            path=TEXT,
            severity=SEVERITY,
            layout=field(Policy, "layout"),
            findings=rows(FINDING),
            files=rows(FILE),
            processes=rows(PROCESS),
            processes_at=maybe(MOMENT),
            members=MEMBERS,
            authorities=rows(record(name=TEXT, type=TEXT, note=TEXT, problem=maybe(TEXT), failed_attempts=NUMBER)),
            rotations=rows(ROTATION),
            clock=record(sound=FLAG, synchronised=FLAG),
            checked_at=maybe(MOMENT),
            next=maybe(NEXT),
        )
    ),
)
PLAN = record(
    certs_dirs=rows(
        record(
            path=TEXT,
            actions=rows(ACTION),
            steps=rows(ACTION),
            held=rows(record(action=TEXT, file=TEXT, at=maybe(MOMENT), reason=TEXT, refused=FLAG)),
            rotations=rows(ROTATION),
            findings=rows(FINDING),
            wake_at=maybe(MOMENT),
            next=maybe(NEXT),
        )
    )
)
CHECKED = record(
    version={"const": 1},
    certs_dir=TEXT,
    user=TEXT,
    pid=maybe(NUMBER),
    severity=SEVERITY,
    start=record(accepted=maybe(FLAG), reason=TEXT),
    findings=rows(FINDING),
    files=rows(
        record(
            name=TEXT,
            role=TEXT,
            user=TEXT,
            accepted=maybe(FLAG),
            reason=TEXT,
            not_after=maybe(MOMENT),
            chain_ends=maybe(MOMENT),
            chain_ends_by=maybe(TEXT),
        )
    ),
)
SEVERAL = record(version={"const": 1}, severity=SEVERITY, certs_dirs=rows(CHECKED))
HISTORY = record(
    attempts=rows(
        record(
            id=NUMBER,
            certs_dir=TEXT,
            kind=field(Attempt, "kind"),
            subject=TEXT,
            at=MOMENT,
            outcome=field(Attempt, "outcome"),
            reason=TEXT,
            digest=TEXT,
        )
    )
)
ANSWER = record(
    source=field(Answer, "source"),
    url=TEXT,
    status=words(Status),
    reason=TEXT,
    latency_ms=maybe({"type": "number"}),
    signature_verified=FLAG,
    at=maybe(MOMENT),
    this_update=maybe(MOMENT),
    next_update=maybe(MOMENT),
    revoked_at=maybe(MOMENT),
)
ADVICE = record(
    now=MOMENT,
    safety=words(advice.Safety),
    exit=NUMBER,
    message=TEXT,
    certs_dirs=rows(
        record(
            path=TEXT,
            mode=field(OcspRule, "mode"),
            timeout={"type": "number"},
            safety=words(advice.Safety),
            message=TEXT,
            certificates=rows(
                record(
                    file=TEXT,
                    position={"enum": ["leaf", "issuer"]},
                    subject=TEXT,
                    fingerprint=TEXT,
                    ocsp=rows(TEXT),
                    responders=rows(ANSWER),
                    lax=words(advice.Outcome),
                    strict=words(advice.Outcome),
                    message=TEXT,
                    remedy=TEXT,
                )
            ),
        )
    ),
)
TRIAL = record(
    authority=TEXT,
    type=TEXT,
    certs_dir=TEXT,
    file=TEXT,
    ok=FLAG,
    steps=rows(record(name=TEXT, outcome=field(Step, "outcome"), reason=TEXT, seconds=maybe({"type": "number"}))),
    certificate=maybe(record(subject=TEXT, issuer=TEXT, sans=rows(TEXT), key=TEXT)),
    note=TEXT,
)
COMMAND = record(state={"enum": ["proven", "pending", "refused"]}, reason=TEXT)
COMMAND["properties"]["owed"] = rows(TEXT)
AUTHORITY_CERTIFICATE = {"subject": TEXT, "fingerprint": TEXT, "not_after": MOMENT}
BUNDLE = record(
    version={"const": 1},
    certs_dir=TEXT,
    bundle=TEXT,
    cas=rows(record(**AUTHORITY_CERTIFICATE, needed_by=rows(TEXT), unseen=rows(TEXT))),
)
BUNDLE_CHANGE = record(
    version={"const": 1}, certs_dir=TEXT, bundle=TEXT, state={"enum": list(get_args(bundles.State))}, reason=TEXT
)
CHANGED = {name: rows(record(**AUTHORITY_CERTIFICATE)) for name in ("added", "there", "removed")}
BUNDLE_CHANGE["properties"] |= CHANGED | {"waits": rows(TEXT), "needed": rows(TEXT)}
RULE: Shape = {"type": "array", "items": [TEXT, TEXT, TEXT], "minItems": 3, "maxItems": 3}
CODES = record(version={"const": 1}, codes={"type": "object", "additionalProperties": RULE})
CODE = record(version={"const": 1}, code=TEXT, means=TEXT, source=TEXT, remedy=TEXT, look=TEXT, page=TEXT)
RECOVERED: Shape = {"type": "array", "items": [FLAG, TEXT], "minItems": 2, "maxItems": 2}
PROPOSAL = record(
    unit=TEXT, user=TEXT, path=TEXT, certs_dirs=rows(TEXT), drop_in=rows(TEXT), next=rows(TEXT), toml=TEXT
)
CHECK_LINE = record(check=TEXT, outcome=words(doctor.Outcome), message=TEXT, remedy=TEXT)

DOCUMENTS: dict[str, Shape] = {
    "status": document("certagent status --json", STATUS),
    "plan": document("certagent plan --json", PLAN),
    "check": {"$schema": DRAFT, "title": "certagent check --json", "anyOf": [CHECKED, SEVERAL]},
    "history": document("certagent history --json", HISTORY),
    "command": document("certagent renew, rollback and reload --json", COMMAND),
    "bundle": {"$schema": DRAFT, "title": "certagent bundle --json", "anyOf": [BUNDLE, BUNDLE_CHANGE]},
    "rotation": document(
        "certagent rotation status --json",
        record(now=MOMENT, certs_dirs=rows(record(path=TEXT, rotations=rows(ROTATION)))),
    ),
    "rotation-said": document(
        "certagent rotation pause, resume, abort, force and clients --json",
        record(certs_dir=TEXT, bundle=TEXT, done=TEXT),
    ),
    "explain": {"$schema": DRAFT, "title": "certagent explain --json", "anyOf": [CODES, CODE]},
    "advise-ocsp": document("certagent advise ocsp --json", ADVICE),
    "authority-test": document("certagent authority test --json", TRIAL),
    "authority-account": document("certagent authority account --json", record(done=TEXT)),
    "config-check": document("certagent config check --json", record(ok=FLAG, errors=rows(TEXT), warnings=rows(TEXT))),
    "recover": document(
        "certagent recover --json", record(certs_dirs={"type": "object", "additionalProperties": RECOVERED})
    ),
    "init": document(
        "certagent init --json", record(configurations=rows(PROPOSAL), notes=rows(TEXT), written=rows(TEXT))
    ),
    "doctor": document("certagent doctor --json", record(checks=rows(CHECK_LINE))),
}
