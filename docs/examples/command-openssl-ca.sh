#!/usr/bin/env bash
# A CA kept by `openssl ca` on this host, with its index and serial numbers. certagent: type = "command", see
# docs/authorities/command.md. CA_DIR holds ca.crt, ca.key and openssl.cnf; `openssl-ca.cnf` beside this file is one.
set -euo pipefail
: "${CA_DIR:?set it in [authority.NAME] environment}"
fail() { echo "$2" >&2; exit "$1"; }
cd "$CA_DIR" || fail 78 "cannot enter $CA_DIR: add it to writable"

if [ "$CERTAGENT_OPERATION" = roots ]; then exec cat ca.crt; fi

csr=$TMPDIR/request.csr
cat > "$csr"
[ -e index.txt ] || : > index.txt
export CERTAGENT_USAGE # the extension file asks for it: `serverAuth,clientAuth` is openssl's own way to write it
[ -n "$CERTAGENT_USAGE" ] || fail 77 "this CA signs leaves of servers and clients only"
until=(); [ -z "$CERTAGENT_LIFETIME" ] || until=(-enddate "$(date -u -d "+$CERTAGENT_LIFETIME seconds" +%Y%m%d%H%M%SZ)")

# One at a time: openssl ca rewrites its index without a lock of its own.
exec 9> lock
flock -w "$CERTAGENT_TIMEOUT" 9 || fail 69 "another request holds the CA"
if ! openssl ca -batch -notext -config openssl.cnf -extensions leaf "${until[@]}" -in "$csr" \
    -out "$TMPDIR/leaf.crt" 2> "$TMPDIR/errors"; then
    reason=$(grep -A 1 ' field ' "$TMPDIR/errors" | tr '\n' ' ') && fail 77 "$reason" # of its policy section
    reason=$(grep -v -e '^Using configuration' -e '^Check that' -e '^Signature ok' "$TMPDIR/errors" | head -n 1)
    fail 1 "$reason"
fi
cat "$TMPDIR/leaf.crt"
