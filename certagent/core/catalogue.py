"""Every finding code, one row each: what it means, where the rule comes from, what to do.

An interface: stable, documented, tested. `certagent explain` prints it, docs/findings.md shows it.
"""

from certagent.core.findings import Is, Rule, Severity

LOADER = "cockroach's certificate loader"
HANDSHAKE = "Go's verifier, at the next handshake; cockroach says nothing when it loads"
OCSP = "cockroach's OCSP check, at every handshake"
AGENT = "certagent"
RENEW = "certagent renew NAME"
INFO: tuple[Severity, ...] = ("info",)
WARNING: tuple[Severity, ...] = ("warning",)
CRITICAL: tuple[Severity, ...] = ("critical",)
UNUSABLE = Is.UNUSABLE | Is.RENEWABLE
DIFFERENT = Is.DIFFERENT | Is.RENEWABLE

# A table, which the formatter would spread over 350 lines: code, meaning, source, advice, severities, flags; a remedy
# where the finding's own is not the advice.
# fmt: off
NAME_UNKNOWN = Rule("name.unknown", "a .crt or .key whose name cockroach ignores or refuses", LOADER,
    "rename it, or move it out of the certs-dir", ("warning", "critical"), Is.OF_LONE_KEYS,
    remedy="rename it or move it out of the certs-dir")
CERT_MISSING = Rule("cert.missing", "a wanted certificate is not there", LOADER,
    "certagent renew NAME, or put it there", ("critical", "warning"), UNUSABLE | Is.OF_LONE_KEYS, remedy=RENEW)
CERT_EMPTY = Rule("cert.empty", "the file has no content", LOADER, RENEW, CRITICAL, UNUSABLE)
CERT_UNPARSABLE = Rule("cert.unparsable", "the file holds no certificate that parses", LOADER, RENEW, CRITICAL,
    UNUSABLE)
CERT_IRREGULAR = Rule("cert.irregular", "a link out of the directory, a FIFO, a device, or larger than 1 MiB: not read",
    AGENT, "replace it by a regular file", CRITICAL, UNUSABLE, remedy=RENEW)
CERT_EXPIRED = Rule("cert.expired", "notAfter has passed", HANDSHAKE, RENEW, CRITICAL, UNUSABLE)
CERT_NOT_YET_VALID = Rule("cert.not-yet-valid", "notBefore is in the future", HANDSHAKE,
    "check the clocks of this host and of the CA", CRITICAL, remedy="check the clock of this host and of the CA")
CERT_EXPIRES_SOON = Rule("cert.expires-soon",
    "under 1/6 of the lifetime is left (critical: 1/20), or the configured warn and critical", AGENT,
    "certagent status shows when it renews", ("warning", "critical"), Is.RENEWABLE | Is.TOLERATED, remedy=RENEW)
CERT_PRINCIPAL = Rule("cert.principal", "neither common name nor DNS SANs name `node`, or the user", LOADER,
    "certagent renew NAME; check the CA's template", CRITICAL, DIFFERENT, remedy=RENEW)
CERT_SAN = Rule("cert.san", "a configured name is not in the certificate, or a server's has no name at all", HANDSHAKE,
    RENEW, ("warning", "critical"), DIFFERENT)
CERT_EKU = Rule("cert.eku", "the extended key usage lacks serverAuth or clientAuth", HANDSHAKE,
    "check the CA's template, certagent renew NAME", CRITICAL, DIFFERENT, remedy=RENEW)
CERT_UNTRUSTED = Rule("cert.untrusted", "the chain does not build to the trust bundle that verifies it", HANDSHAKE,
    "add the issuing root to the bundle first, then renew", ("critical", "warning"), Is.DIFFERENT,
    remedy="certagent explain cert.untrusted")
CERT_WEAK = Rule("cert.weak",
    "RSA under 2048 bits, or a hash that Go refuses (SHA-1, MD5); critical: a key that no handshake "
    "takes (DSA, P-224, RSA over 8192 bits)",
    HANDSHAKE, RENEW, ("warning", "critical"), DIFFERENT)
CERT_KEY = Rule("cert.key", "the key is not of the type that `key` configures", AGENT, RENEW, WARNING, DIFFERENT)
KEY_MISSING = Rule("key.missing", "the certificate has no key", LOADER, RENEW, CRITICAL, UNUSABLE)
KEY_UNPARSABLE = Rule("key.unparsable", "the key does not parse", LOADER, RENEW, CRITICAL, UNUSABLE)
KEY_MISMATCH = Rule("key.mismatch", "the key belongs to another certificate", HANDSHAKE,
    "certagent recover; certagent renew NAME", CRITICAL, UNUSABLE, remedy="certagent recover, or certagent renew NAME")
KEY_MODE = Rule("key.mode", "others may read the key", LOADER,
    "chmod 0600 FILE; certagent does it unless enforce = report", ("critical", "warning"), Is.OF_LONE_KEYS)
KEY_OWNER = Rule("key.owner", "the key is not the owner's", LOADER, "the chown that the finding prints",
    ("critical", "warning"))
KEY_IRREGULAR = Rule("key.irregular", "the key is a link, a FIFO, a device, or too large: not read", AGENT,
    "replace it by a regular file", CRITICAL, UNUSABLE, remedy=RENEW)
CA_MISSING = Rule("ca.missing", "there is no trust bundle", LOADER,
    "put it there; certagent makes it where that is safe", CRITICAL,
    remedy="put the trust bundle there; certagent plan says what is known of it")
CA_EXPIRED = Rule("ca.expired", "a CA of the bundle has expired", HANDSHAKE, "remove it once nothing chains to it",
    ("warning", "critical"))
CA_EXPIRES_SOON = Rule("ca.expires-soon", "a CA of the bundle expires soon", HANDSHAKE,
    "plan a CA rotation: bundle first, leaves later", ("warning", "critical"))
CA_NOT_A_CA = Rule("ca.not-a-ca", "a certificate of the bundle is no CA", HANDSHAKE, "remove it from the bundle",
    WARNING)
CA_KEY_PRESENT = Rule("ca.key-present", "the CA's private key lies in the certs-dir", AGENT,
    "move it to the host that issues certificates", WARNING)
LAYOUT_SUPERFLUOUS = Rule("layout.superfluous",
    "something that the layout does not ask for, and that cockroach uses all the same", AGENT,
    "name it in the configuration, choose another layout, or remove it", ("info", "warning"))
LAYOUT_WAITING = Rule("layout.waiting",
    "client.node would change its CA: only a person can know that the other nodes trust the new one", HANDSHAKE,
    "certagent renew client.node, once every node's bundle of client CAs holds the new one", WARNING, Is.RENEWABLE,
    remedy=RENEW)
DIR_MISSING = Rule("dir.missing", "the certs-dir is not there, or cannot be read", AGENT,
    "create it, or give the agent's user access", CRITICAL)
DIR_MODE = Rule("dir.mode", "others may replace files of the certs-dir", AGENT, "chmod go-w DIR", WARNING)
DIR_FOREIGN = Rule("dir.foreign", "something else owns the files (Kubernetes' ..data, a single-file bind mount)", AGENT,
    "use an authority of type none", ("warning", "info"),
    remedy="set `authority` to one of type none: the files are observed, reloaded and proven only")
SERVED_STALE = Rule("served.stale", "a process serves something else than what is on disk", AGENT,
    "certagent reload; the process's log says why it refused", ("info", "warning", "critical"))
SERVED_UNREACHABLE = Rule("served.unreachable", "a port cannot be asked what it serves", AGENT,
    "check the listener, or set `probe`", WARNING)
PROCESS_NONE = Rule("process.none", "no process owns the directory", AGENT, "start cockroach, or set `pid_file`", INFO)
PROCESS_FORBIDDEN = Rule("process.forbidden", "a process cannot be looked into or signalled", AGENT,
    "set `pid_file` and `probe`", WARNING, remedy="set `pid_file` and `probe` in [certs_dir.process]")
PROCESS_STARTING = Rule("process.starting", "a process is not listening yet: no signal may reach it", AGENT, "wait",
    INFO, remedy="nothing: it loads what is on disk")
AUTHORITY_UNTRUSTED = Rule("authority.untrusted",
    "an authority of the order of failover could not stand in: its root is not in the trust bundle", AGENT,
    "add its root to the bundle on every node first, or take it out of `authority`", WARNING)
RENEWAL_FAILING = Rule("renewal.failing", "the last attempts to renew failed", AGENT, "certagent history NAME",
    ("warning", "critical"))
RENEWAL_OVERDUE = Rule("renewal.overdue", "less than a twentieth of the lifetime is left", AGENT,
    "certagent history NAME; certagent renew NAME", CRITICAL, Is.RENEWABLE,
    remedy="certagent history; certagent renew NAME")
RENEWAL_REFUSED = Rule("renewal.refused",
    "a renewal was refused by the CA's policy or by the gate, or is held back because it would be", AGENT,
    "certagent plan and certagent history NAME say why", ("critical", "warning"),
    remedy="certagent plan; certagent explain renewal.refused")
RENEWAL_WAITING = Rule("renewal.waiting", "a CA has the request and answers later: a person, or a queue", AGENT,
    "certagent history NAME; the key waits in the staging area", INFO, remedy="certagent history NAME")
WORKER_UNCONFINED = Rule("worker.unconfined",
    "a process that talks to a CA or an OCSP responder lacks a guard of the kernel (info: none for keys)", AGENT,
    "a kernel with Landlock and seccomp; the unit allows their system calls", ("warning", "info"),
    remedy="a kernel with Landlock and seccomp, and a unit that allows their system calls")
OCSP_NO_URL = Rule("ocsp.no-url",
    "a certificate of the chain names no OCSP responder, though the cluster's mode is lax or strict", OCSP,
    "have the CA write authorityInfoAccess, certagent renew NAME", WARNING, Is.RENEWABLE,
    remedy="have the CA write authorityInfoAccess into its certificates, then certagent renew NAME")
OCSP_UNREACHABLE = Rule("ocsp.unreachable",
    "no responder gives an answer that counts: not reached, not HTTP 200, not signed by who may, out of date", OCSP,
    "certagent advise ocsp; critical in strict, where it locks everybody out", ("warning", "critical"),
    remedy="certagent advise ocsp; see that the responder answers from this host")
OCSP_UNKNOWN = Rule("ocsp.unknown", "the responder does not know the certificate", OCSP,
    "certagent advise ocsp; have the CA tell its responder of it", ("warning", "critical"),
    remedy="certagent advise ocsp; have the CA tell its responder of this certificate, or renew it")
OCSP_REVOKED = Rule("ocsp.revoked", "a certificate of the chain is revoked", OCSP,
    "certagent renews at once, with a new key; certagent renew NAME", CRITICAL, Is.RENEWABLE,
    remedy="certagent renew NAME; with authority none, put a new pair there")
CLOCK_UNSOUND = Rule("clock.unsound", "the wall clock cannot be believed", AGENT,
    "set the clock; nothing is renewed until then", CRITICAL,
    remedy="set the clock, start a time service; nothing is renewed until then")
LEDGER_UNWRITABLE = Rule("ledger.unwritable", "attempts cannot be recorded: nothing new is issued", AGENT,
    "free space, or repair state_dir", CRITICAL, remedy="free space or repair state_dir; nothing is issued until then")
CONFIG_REJECTED = Rule("config.rejected",
    "the configuration file changed and has errors: the old configuration stays in force", AGENT,
    "certagent config check", WARNING)
PATH_HUNG = Rule("path.hung",
    "a file that the configuration names does not answer, as on a mount that hangs: who needs it is not asked", AGENT,
    "mount what it lies on again, or name a file of this host", WARNING)
WATCH_DEGRADED = Rule("watch.degraded", "file events do not arrive: changes are seen at the next rescan only", AGENT,
    "see the finding's reason", WARNING)
# fmt: on

FINDINGS: dict[str, Rule] = {row.code: row for row in tuple(globals().values()) if isinstance(row, Rule)}
OF_DIRECTORIES = frozenset(rule.area for rule in (CERT_MISSING, KEY_MISSING, CA_MISSING, NAME_UNKNOWN, DIR_MISSING))
