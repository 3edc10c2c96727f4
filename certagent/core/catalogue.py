"""Every finding code, one row each: what it means, where the rule comes from, what to do.

An interface: stable, documented, tested. `certagent explain` prints it, docs/findings.md shows it.
"""

from certagent.core.findings import Is, Rule, Severity

LOADER = "cockroach's certificate loader"
HANDSHAKE = "Go's verifier, at the next handshake; cockroach loads the file without a message"
OCSP = "cockroach's OCSP check, at every handshake"
SERVER = "cockroach's servers, when somebody connects"
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
NAME_UNKNOWN = Rule("name.unknown", "a .crt or .key file with a name that cockroach ignores or refuses", LOADER,
    "rename it or move it out of the certs directory", ("warning", "critical"), Is.OF_LONE_KEYS,
    remedy="rename it or move it out of the certs directory")
CERT_MISSING = Rule("cert.missing", "a required certificate does not exist", LOADER,
    "certagent renew NAME, or copy it there", ("critical", "warning"), UNUSABLE | Is.OF_LONE_KEYS, remedy=RENEW)
CERT_EMPTY = Rule("cert.empty", "the file is empty", LOADER, RENEW, CRITICAL, UNUSABLE)
CERT_UNPARSABLE = Rule("cert.unparsable", ("the file contains no certificate that"
" can be parsed"), LOADER, RENEW, CRITICAL,
    UNUSABLE)
CERT_UNREAD = Rule("cert.unread", "cockroach may load the certificate, but certagent cannot read it", AGENT,
    "openssl x509 -text shows the certificate; certagent renews nothing and verifies nothing for it", WARNING)
CERT_NONSTANDARD = Rule("cert.nonstandard",
    "some versions of Go, and with them some versions of cockroach, refuse the certificate", LOADER,
    "have the CA issue it without that property before cockroach is upgraded", ("warning", "critical"))
CERT_IRREGULAR = Rule("cert.irregular", ("the file is not read: a link out of the directory, a FIFO, a device, or"
" larger than 1 MiB"),
    AGENT, "replace it with a regular file", CRITICAL, UNUSABLE, remedy=RENEW)
CERT_EXPIRED = Rule("cert.expired", "notAfter has passed", HANDSHAKE, RENEW, CRITICAL, UNUSABLE)
CERT_NOT_YET_VALID = Rule("cert.not-yet-valid", "notBefore is in the future", HANDSHAKE,
    "check the clocks of this host and of the CA", CRITICAL, remedy="check the clock of this host and of the CA")
CERT_EXPIRES_SOON = Rule("cert.expires-soon",
    "less than 1/6 of the lifetime is left (critical: 5 %), or less than the configured `warn` or `critical`", AGENT,
    ("certagent status shows when it"
" will be renewed"), ("warning", "critical"), Is.RENEWABLE | Is.TOLERATED, remedy=RENEW)
CERT_OUTLIVES_CA = Rule("cert.outlives-ca", "an intermediate or the root of the chain expires before the certificate",
    HANDSHAKE, "have the CA renew its own certificate, then renew the pair", WARNING, Is.TOLERATED)
CERT_PRINCIPAL = Rule("cert.principal", "the certificate is not for `node` or the user", LOADER,
    "certagent renew NAME; check the CA's template", CRITICAL, DIFFERENT, remedy=RENEW)
CERT_SAN = Rule("cert.san", ("the certificate lacks a configured name, or a server certificate has no"
" name at all"), HANDSHAKE,
    RENEW, ("warning", "critical"), DIFFERENT)
CERT_EKU = Rule("cert.eku", "the extended key usage lacks serverAuth or clientAuth", HANDSHAKE,
    "check the CA's template, then certagent renew NAME", CRITICAL, DIFFERENT, remedy=RENEW)
CERT_UNTRUSTED = Rule("cert.untrusted", ("the certificate does not chain to the trust bundle that"
" verifies it"), HANDSHAKE,
    "add the issuing root to the bundle on every node, or have a CA that the bundle contains issue the certificate",
    ("critical", "warning"), Is.DIFFERENT)
CERT_WEAK = Rule("cert.weak",
    "an RSA key under 2048 bits, or a hash that Go refuses (SHA-1, MD5); critical: a key that no handshake "
    "accepts (DSA, P-224, RSA over 8192 bits)",
    HANDSHAKE, RENEW, ("warning", "critical"), DIFFERENT)
CERT_KEY = Rule("cert.key", "the key does not have the type that `key` configures", AGENT, RENEW, WARNING, DIFFERENT)
CERT_LOGIN = Rule("cert.login",
    "servers refuse the user of the certificate because of the flags that they were started with", SERVER,
    "start every server with the flag that allows it, or remove the certificate", ("critical", "warning"))
CERT_ADDRESS = Rule("cert.address",
    "node.crt does not name an address that cockroach advertises; info: the certificate of the DB Console does not",
    SERVER, "add it to `names`, then certagent renew NAME", ("warning", "info"))
CERT_PINNED = Rule("cert.pinned", "a trust bundle contains the client certificate itself, but not its CA", HANDSHAKE,
    "add the CA that issued it to the bundle", CRITICAL)
KEY_MISSING = Rule("key.missing", "the certificate has no key", LOADER, RENEW, CRITICAL, UNUSABLE)
KEY_UNPARSABLE = Rule("key.unparsable", "the key cannot be parsed", LOADER, RENEW, CRITICAL, UNUSABLE)
KEY_MISMATCH = Rule("key.mismatch", "the key does not match the certificate", HANDSHAKE,
    "certagent recover, or certagent renew NAME", CRITICAL, UNUSABLE)
KEY_MODE = Rule("key.mode", "others may read the key", LOADER,
    'chmod 0600 FILE; certagent does this unless enforce = "report"', ("critical", "warning"), Is.OF_LONE_KEYS)
KEY_EXPOSED = Rule("key.exposed",
    "others may have read the key, because repairs of its mode were undone five times; the finding stays until the key "
    "is replaced or an operator clears it", AGENT,
    "find out what changes the mode; then certagent renew NAME --force for a new key, or certagent clear NAME",
    CRITICAL)
KEY_OWNER = Rule("key.owner", "the key has the wrong owner or group", LOADER, "run the chown that the finding shows",
    ("critical", "warning"))
KEY_IRREGULAR = Rule("key.irregular", "the key is not read: a link, a FIFO, a device, or too large", AGENT,
    "replace it with a regular file", CRITICAL, UNUSABLE, remedy=RENEW)
CA_MISSING = Rule("ca.missing", "the trust bundle does not exist", LOADER,
    "copy it there; certagent creates it if that is safe", CRITICAL,
    remedy="copy the trust bundle there, unless certagent plan shows that certagent creates it")
CA_EXPIRED = Rule("ca.expired", ("a CA certificate of the bundle"
" has expired"), HANDSHAKE, "remove it once nothing chains to it",
    ("warning", "critical"))
CA_EXPIRES_SOON = Rule("ca.expires-soon", "a CA certificate of the bundle expires soon", HANDSHAKE,
    "rotate the CA: first the bundle on every node, then the certificates", ("warning", "critical"))
CA_NOT_A_CA = Rule("ca.not-a-ca", ("a certificate of the bundle is not a CA"
" certificate"), HANDSHAKE, "add its issuer to the bundle unless that is there, then remove the certificate",
    WARNING)
CA_UI_ALONE = Rule("ca.ui-alone", "ca-ui.crt exists, but ui.crt does not", HANDSHAKE,
    "add ui.crt and ui.key, or remove ca-ui.crt", WARNING)
CA_KEY_PRESENT = Rule("ca.key-present", "the CA's private key is in the certs directory", AGENT,
    "move it to the host that issues certificates", WARNING, Is.OF_LONE_KEYS)
LAYOUT_SUPERFLUOUS = Rule("layout.superfluous",
    "a file or certificate property that was not requested but that cockroach still uses", AGENT,
    "add it to the configuration, choose another layout, or remove it", ("info", "warning"))
LAYOUT_WAITING = Rule("layout.waiting",
    "a pair of another CA is ready, and waits for the word of a person; critical: the live pair is about to expire",
    HANDSHAKE, "certagent rotation status says for which word", ("warning", "critical"))
PEER_REFUSES = Rule("peer.refuses",
    "another node refuses a pair of this node that leads to another root; critical: the live pair is about to expire",
    HANDSHAKE, "add the new root to the bundle of that node; certagent rotation force NAME PEER goes on without it",
    ("warning", "critical"))
BUNDLE_BREAKS = Rule("bundle.breaks",
    "a trust bundle on disk lacks a CA that a process has loaded and that other nodes or clients may need, so the"
    " process is not reloaded", HANDSHAKE,
    "put that CA back: certagent bundle add FILE; certagent rotation status shows who may need it", CRITICAL)
PEER_UNSEEN = Rule("peer.unseen",
    "a pair of another root waits for a node that does not answer; critical: the live pair is about to expire",
    HANDSHAKE, "start that node, or take it off `peers`; certagent rotation force NAME PEER goes on without it",
    ("warning", "critical"))
PEERS_INCOMPLETE = Rule("peers.incomplete",
    "a pair of another root waits because not every member of the cluster is known; critical: the live pair is about to"
    " expire", AGENT, "set `peers` to the addresses of the other nodes, or to [] for a node that is alone",
    ("warning", "critical"))
DIR_MISSING = Rule("dir.missing", "the certs directory does not exist or cannot be read", AGENT,
    "create it, or give the agent's user access to it", CRITICAL)
DIR_MODE = Rule("dir.mode", "other users may replace files of the certs directory", AGENT, "chmod go-w DIR", WARNING)
DIR_FOREIGN = Rule("dir.foreign", "certagent changes nothing in the certs directory: the files are externally managed"
    " (Kubernetes' ..data, a single-file bind mount), another agent manages it, or this agent cannot write to it;"
    " critical: the agent runs as root, and others can write the directory, or one above it; or it could mend what is"
    " critical, were it allowed to",
    AGENT, "as the finding says; for externally managed files, use an authority of type none",
    ("warning", "info", "critical"), remedy="for externally managed files, use an authority of type none")
DIR_OWNER = Rule("dir.owner", "the certs directory does not belong to the configured `owner`", AGENT,
    "chown OWNER DIR, or correct `owner`", WARNING)
DIR_STAGING = Rule("dir.staging", "the staging area `.certagent` contains something that certagent did not put there",
    AGENT, "find out what it is, then remove it", WARNING)
DIR_TOO_LARGE = Rule("dir.too-large", "the certs directory has too much in it for one check: a part is not examined",
    AGENT, "move what cockroach does not need out of the directory", WARNING,
    remedy="move what cockroach does not need out of the directory")
SERVED_STALE = Rule("served.stale",
    "a process does not serve the certificate that is on disk; critical: a reload is blocked, or had no effect", AGENT,
    "as the finding says: repair the file that blocks the reload, or see the log of the process",
    ("info", "warning", "critical"), remedy="see the log of the process")
SERVED_UNREACHABLE = Rule("served.unreachable", "certagent cannot connect to a port to see what it serves", AGENT,
    "check the listener, or set `probe` to the addresses that are to be checked", ("warning", "critical"))
LOGIN_REFUSED = Rule("login.refused",
    "a server refuses the log-in of the user of a client certificate (SQLSTATE 28000)",
    "cockroach's authentication, after the handshake",
    "check that CN, DNS SANs or crdb:// URIs name the user, the server's mapping and root flags, and its HBA rules",
    CRITICAL)
PROCESS_NONE = Rule("process.none", "no process uses the directory", AGENT, "start cockroach, or set `pid_file`", INFO)
PROCESS_FORBIDDEN = Rule("process.forbidden", "a process cannot be inspected or signalled", AGENT,
    "set `pid_file` and `probe`", WARNING, remedy="set `pid_file` and `probe` in [certs_dir.process]")
PROCESS_STARTING = Rule("process.starting", ("a process is not listening yet, so it must not"
" get a signal"), AGENT, "wait; if it has been listening for a while, set `probe`",
    ("info", "warning"), remedy="nothing to do: the process loads what is on disk when it starts")
PROCESS_INSECURE = Rule("process.insecure", "cockroach runs with --insecure, so it uses no certificates", AGENT,
    "start it without --insecure", WARNING)
PROCESS_OTHER_USER = Rule("process.other-user",
    "cockroach runs as another user than `owner`, so this agent can neither inspect nor signal it", AGENT,
    "run cockroach as the user of `owner`, or set `owner` and run the agent as the user of cockroach",
    ("warning", "info"))
PROCESS_PID_FILE = Rule("process.pid-file", "the configured `pid_file` does not lead to a process", AGENT,
    "correct `pid_file`, or have cockroach write it (--pid-file)", ("warning", "info"))
PROCESS_PROBE = Rule("process.probe", "`probe` names an address on which the process does not listen", AGENT,
    "correct `probe` in [certs_dir.process], or leave it out: certagent finds the ports by itself", WARNING)
AUTHORITY_UNTRUSTED = Rule("authority.untrusted",
    "the root of an authority is not in the trust bundle", AGENT,
    "certagent bundle add FILE with its root, on every node; or remove it from `authority`", WARNING)
AUTHORITY_UNUSABLE = Rule("authority.unusable",
    "an authority cannot be asked: its roots, a secret, a credential or its key cannot be read or could have been "
    "changed by other users, or an embedded CA does not exist", AGENT,
    "repair the file, make it readable for the agent, or correct the setting", WARNING)
RENEWAL_FAILING = Rule("renewal.failing", "the last attempts to renew failed", AGENT,
    "certagent history NAME shows why", ("warning", "critical"))
RENEWAL_OVERDUE = Rule("renewal.overdue", "less than 5 % of the lifetime is left", AGENT,
    "certagent history NAME shows why; certagent renew NAME", CRITICAL, Is.RENEWABLE)
RENEWAL_REFUSED = Rule("renewal.refused",
    "the CA's policy or a pre-install check refused a renewal, or would refuse it", AGENT,
    "as the finding says; certagent history NAME shows earlier attempts", ("critical", "warning"),
    remedy="certagent history NAME; then change the configuration or the CA's policy")
RENEWAL_WAITING = Rule("renewal.waiting", ("the CA accepted the request; issuance is pending (manual"
" approval or queue)"), AGENT,
    "certagent history NAME; the key is kept in the staging area", INFO, remedy="certagent history NAME")
INSTALL_BLOCKED = Rule("install.blocked",
    "a certificate cannot be installed: something keeps its files from being replaced, or the last swap failed", AGENT,
    "as the finding says; certagent history NAME shows earlier attempts", ("critical", "warning"),
    remedy="certagent history NAME shows what failed; certagent doctor examines the host")
WORKER_UNCONFINED = Rule("worker.unconfined",
    ("the kernel cannot fully confine the process that asks a CA or an OCSP responder (info: keys"
" stay protected)"), AGENT,
    "use a kernel with Landlock and seccomp; the unit allows their system calls", ("warning", "info"),
    remedy="use a kernel with Landlock and seccomp, and a unit that allows their system calls")
OCSP_NO_URL = Rule("ocsp.no-url",
    "a certificate of the chain names no OCSP responder, but the cluster's mode is lax or strict", OCSP,
    "have the CA add authorityInfoAccess, then certagent renew NAME", WARNING, Is.RENEWABLE,
    remedy="have the CA add authorityInfoAccess to its certificates, then certagent renew NAME")
OCSP_UNREACHABLE = Rule("ocsp.unreachable",
    "no valid OCSP response: unreachable, HTTP error, wrong signer or expired", OCSP,
    "certagent advise ocsp; critical in strict mode, which then refuses all connections", ("warning", "critical"),
    remedy="certagent advise ocsp; make sure that the responder can be reached from this host")
OCSP_UNKNOWN = Rule("ocsp.unknown", "the responder does not know the certificate", OCSP,
    "certagent advise ocsp; register the certificate with the CA's responder", ("warning", "critical"),
    remedy="certagent advise ocsp; register the certificate with the CA's responder, or renew it")
OCSP_REVOKED = Rule("ocsp.revoked", "a certificate of the chain is revoked", OCSP,
    "certagent renews immediately, with a new key; with an authority of type none, replace the pair", CRITICAL,
    Is.RENEWABLE, remedy="certagent renew NAME; with an authority of type none, replace the pair")
CLOCK_UNSOUND = Rule("clock.unsound",
    "the wall clock is wrong; warning: it was set by more than a day, and no time service keeps it", AGENT,
    "set the clock; certagent renews nothing until then", ("critical", "warning"),
    remedy="set the clock and start a time service; certagent renews nothing until then")
LEDGER_UNWRITABLE = Rule("ledger.unwritable", "attempts cannot be recorded, so nothing new is issued", AGENT,
    "free disk space or repair state_dir", CRITICAL, remedy=("free disk space or repair state_dir; certagent issues"
" nothing until then"))
CONFIG_REJECTED = Rule("config.rejected",
    "the configuration file changed and has mistakes; the old configuration stays in force", AGENT,
    "certagent config check", WARNING)
PATH_HUNG = Rule("path.hung",
    "a configured file is not responding (hung mount?); authorities that need it are skipped; critical: a certs "
    "directory is not responding", AGENT,
    "repair the mount, or configure a file on this host", ("warning", "critical"))
AGENT_STALLED = Rule("agent.stalled",
    "the last check of a certs directory is older than three rescans, so its state is not known", AGENT,
    "repair the mount that hangs; if none does, restart certagent and report the error", CRITICAL)
AGENT_DOWN = Rule("agent.down",
    "no agent runs, so nothing is renewed, reloaded or verified; critical: a renewal is due", AGENT,
    "systemctl start certagent; journalctl -u certagent says why it ended", ("warning", "critical"),
    remedy="systemctl start certagent, or certagent run; journalctl -u certagent says why it ended")
AGENT_RESTARTING = Rule("agent.restarting",
    "the agent ended unexpectedly and was started again, three times within ten minutes", AGENT,
    "journalctl -u certagent says why it ended", WARNING)
METRICS_UNWRITABLE = Rule("metrics.unwritable",
    "the file of metrics cannot be written, so monitoring does not see this agent", AGENT,
    "correct `textfile` in [metrics], or let the agent's user write the directory", WARNING)
WATCH_DEGRADED = Rule("watch.degraded", "file events do not arrive; changes are noticed at the next rescan only", AGENT,
    "as the finding says: raise a limit of inotify, or create the directory", WARNING,
    remedy="raise fs.inotify.max_user_instances and fs.inotify.max_user_watches")
# fmt: on

FINDINGS: dict[str, Rule] = {row.code: row for row in tuple(globals().values()) if isinstance(row, Rule)}
OF_DIRECTORIES = frozenset(rule.area for rule in (CERT_MISSING, KEY_MISSING, CA_MISSING, NAME_UNKNOWN, DIR_MISSING))
