"""Every finding code: what it means, where the rule comes from, what to do.

An interface: stable, documented, tested.
"""

LOADER = "cockroach's certificate loader"
HANDSHAKE = "Go's verifier, at the next handshake; cockroach says nothing when it loads"
OCSP = "cockroach's OCSP check, at every handshake"
AGENT = "certagent"

FINDINGS: dict[str, tuple[str, str, str]] = {
    "name.unknown": (
        "a .crt or .key whose name cockroach ignores or refuses",
        LOADER,
        "rename it, or move it out of the certs-dir",
    ),
    "cert.missing": ("a wanted certificate is not there", LOADER, "certagent renew NAME, or put it there"),
    "cert.empty": ("the file has no content", LOADER, "certagent renew NAME"),
    "cert.unparsable": ("the file holds no certificate that parses", LOADER, "certagent renew NAME"),
    "cert.irregular": (
        "a link out of the directory, a FIFO, a device, or larger than 1 MiB: not read",
        AGENT,
        "replace it by a regular file",
    ),
    "cert.expired": ("notAfter has passed", HANDSHAKE, "certagent renew NAME"),
    "cert.not-yet-valid": ("notBefore is in the future", HANDSHAKE, "check the clocks of this host and of the CA"),
    "cert.expires-soon": (
        "under 1/6 of the lifetime is left (critical: 1/20), or the configured warn and critical",
        AGENT,
        "certagent status shows when it renews",
    ),
    "cert.principal": (
        "neither common name nor DNS SANs name `node`, or the user",
        LOADER,
        "certagent renew NAME; check the CA's template",
    ),
    "cert.san": (
        "a configured name is not in the certificate, or a server's has no name at all",
        HANDSHAKE,
        "certagent renew NAME",
    ),
    "cert.eku": (
        "the extended key usage lacks serverAuth or clientAuth",
        HANDSHAKE,
        "check the CA's template, certagent renew NAME",
    ),
    "cert.untrusted": (
        "the chain does not build to the trust bundle that verifies it",
        HANDSHAKE,
        "add the issuing root to the bundle first, then renew",
    ),
    "cert.weak": (
        (
            "RSA under 2048 bits, or a hash that Go refuses (SHA-1, MD5); critical: a key that no handshake takes"
            " (DSA, P-224, RSA over 8192 bits)"
        ),
        HANDSHAKE,
        "certagent renew NAME",
    ),
    "key.missing": ("the certificate has no key", LOADER, "certagent renew NAME"),
    "key.unparsable": ("the key does not parse", LOADER, "certagent renew NAME"),
    "key.mismatch": ("the key belongs to another certificate", HANDSHAKE, "certagent recover; certagent renew NAME"),
    "key.mode": ("others may read the key", LOADER, "chmod 0600 FILE; certagent does it unless enforce = report"),
    "key.owner": ("the key is not the owner's", LOADER, "the chown that the finding prints"),
    "key.irregular": (
        "the key is a link, a FIFO, a device, or too large: not read",
        AGENT,
        "replace it by a regular file",
    ),
    "ca.missing": ("there is no trust bundle", LOADER, "put it there; certagent makes it where that is safe"),
    "ca.expired": ("a CA of the bundle has expired", HANDSHAKE, "remove it once nothing chains to it"),
    "ca.expires-soon": ("a CA of the bundle expires soon", HANDSHAKE, "plan a CA rotation: bundle first, leaves later"),
    "ca.not-a-ca": ("a certificate of the bundle is no CA", HANDSHAKE, "remove it from the bundle"),
    "ca.key-present": (
        "the CA's private key lies in the certs-dir",
        AGENT,
        "move it to the host that issues certificates",
    ),
    "layout.superfluous": (
        "something that the layout does not ask for, and that cockroach uses all the same",
        AGENT,
        "name it in the configuration, choose another layout, or remove it",
    ),
    "layout.waiting": (
        "client.node would change its CA: only a person can know that the other nodes trust the new one",
        HANDSHAKE,
        "certagent renew client.node, once every node's bundle of client CAs holds the new one",
    ),
    "dir.missing": (
        "the certs-dir is not there, or cannot be read",
        AGENT,
        "create it, or give the agent's user access",
    ),
    "dir.mode": ("others may replace files of the certs-dir", AGENT, "chmod go-w DIR"),
    "dir.foreign": (
        "something else owns the files (Kubernetes' ..data, a single-file bind mount)",
        AGENT,
        "use an authority of type none",
    ),
    "served.stale": (
        "a process serves something else than what is on disk",
        AGENT,
        "certagent reload; the process's log says why it refused",
    ),
    "served.unreachable": ("a port cannot be asked what it serves", AGENT, "check the listener, or set `probe`"),
    "process.none": ("no process owns the directory", AGENT, "start cockroach, or set `pid_file`"),
    "process.forbidden": ("a process cannot be looked into or signalled", AGENT, "set `pid_file` and `probe`"),
    "process.starting": ("a process is not listening yet: no signal may reach it", AGENT, "wait"),
    "authority.untrusted": (
        "an authority of the order of failover could not stand in: its root is not in the trust bundle",
        AGENT,
        "add its root to the bundle on every node first, or take it out of `authority`",
    ),
    "renewal.failing": ("the last attempts to renew failed", AGENT, "certagent history NAME"),
    "renewal.overdue": (
        "less than a twentieth of the lifetime is left",
        AGENT,
        "certagent history NAME; certagent renew NAME",
    ),
    "renewal.refused": (
        "a renewal was refused by the CA's policy or by the gate, or is held back because it would be",
        AGENT,
        "certagent plan and certagent history NAME say why",
    ),
    "renewal.waiting": (
        "a CA has the request and answers later: a person, or a queue",
        AGENT,
        "certagent history NAME; the key waits in the staging area",
    ),
    "worker.unconfined": (
        "a process that talks to a CA or an OCSP responder lacks a guard of the kernel (info: none for keys)",
        AGENT,
        "a kernel with Landlock and seccomp; the unit allows their system calls",
    ),
    "ocsp.no-url": (
        "a certificate of the chain names no OCSP responder, though the cluster's mode is lax or strict",
        OCSP,
        "have the CA write authorityInfoAccess, certagent renew NAME",
    ),
    "ocsp.unreachable": (
        "no responder gives an answer that counts: not reached, not HTTP 200, not signed by who may, out of date",
        OCSP,
        "certagent advise ocsp; critical in strict, where it locks everybody out",
    ),
    "ocsp.unknown": (
        "the responder does not know the certificate",
        OCSP,
        "certagent advise ocsp; have the CA tell its responder of it",
    ),
    "ocsp.revoked": (
        "a certificate of the chain is revoked",
        OCSP,
        "certagent renews at once, with a new key; certagent renew NAME",
    ),
    "clock.unsound": ("the wall clock cannot be believed", AGENT, "set the clock; nothing is renewed until then"),
    "ledger.unwritable": (
        "attempts cannot be recorded: nothing new is issued",
        AGENT,
        "free space, or repair state_dir",
    ),
    "config.rejected": (
        "the configuration file changed and has errors: the old configuration stays in force",
        AGENT,
        "certagent config check",
    ),
    "path.hung": (
        "a file that the configuration names does not answer, as on a mount that hangs: who needs it is not asked",
        AGENT,
        "mount what it lies on again, or name a file of this host",
    ),
    "watch.degraded": (
        "file events do not arrive: changes are seen at the next rescan only",
        AGENT,
        "see the finding's reason",
    ),
}
