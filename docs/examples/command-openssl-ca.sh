#!/usr/bin/env bash
# A CA that `openssl ca` manages on this host, with its index and serial numbers. Configure type = "command" and CA_DIR
# in `environment` (docs/authorities/command.md). CA_DIR contains ca.crt, ca.key and openssl.cnf; openssl-ca.cnf next to
# this file is an example.
set -euo pipefail
: "${CA_DIR:?set it in [authority.NAME] environment}"
fail() { echo "$2" >&2; exit "$1"; }
cd "$CA_DIR" || fail 78 "cannot enter $CA_DIR: add it to writable"

if [ "$CERTAGENT_OPERATION" = roots ]; then exec cat ca.crt; fi

csr=$TMPDIR/request.csr
cat > "$csr"
[ -e index.txt ] || : > index.txt
export CERTAGENT_USAGE # the extension section reads it; openssl writes usages the same way: `serverAuth,clientAuth`
[ -n "$CERTAGENT_USAGE" ] || fail 77 "this CA signs server and client certificates only"
until=(); [ -z "$CERTAGENT_LIFETIME" ] || until=(-enddate "$(date -u -d "+$CERTAGENT_LIFETIME seconds" +%Y%m%d%H%M%SZ)")

# One at a time: `openssl ca` rewrites its index without a lock.
exec 9> lock
flock -w "$CERTAGENT_TIMEOUT" 9 || fail 69 "another request still uses the CA"
if ! openssl ca -batch -notext -config openssl.cnf -extensions leaf "${until[@]}" -in "$csr" \
    -out "$TMPDIR/leaf.crt" 2> "$TMPDIR/errors"; then
    reason=$(grep -A 1 ' field ' "$TMPDIR/errors" | tr '\n' ' ') && fail 77 "$reason" # a mismatch with the policy section
    reason=$(grep -v -e '^Using configuration' -e '^Check that' -e '^Signature ok' "$TMPDIR/errors" | head -n 1)
    fail 1 "$reason"
fi
cat "$TMPDIR/leaf.crt"
