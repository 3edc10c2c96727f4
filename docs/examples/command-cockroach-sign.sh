#!/usr/bin/env bash
# Runs on the CA's host as a forced command of ssh. It signs the request that command-cockroach-ssh.sh sends, with the
# ca.crt and ca.key of `cockroach cert create-ca`. Its exit code and standard error reach certagent on the other host.
set -euo pipefail
CA_CERT=${CA_CERT:-/etc/cockroach-ca/ca.crt} CA_KEY=${CA_KEY:-/etc/cockroach-ca/ca.key}
LONGEST=${LONGEST:-2592000} ALLOWED=${ALLOWED:-'^(node|root|[a-z0-9.-]+\.example\.com|10\.[0-9.]+)$'}
fail() { echo "$2" >&2; exit "$1"; }
read -r operation usage lifetime rest <<< "${SSH_ORIGINAL_COMMAND:-}"
[[ -z $rest && $operation =~ ^(issue|roots)$ && $usage =~ ^(none|(serverAuth|clientAuth)(,clientAuth)?)$ && $lifetime =~ ^[0-9]{1,9}$ ]] ||
    fail 77 "unknown command"
if [ "$operation" = roots ]; then exec cat "$CA_CERT"; fi
[ "$usage" != none ] || fail 77 "this CA signs server and client certificates only"
area=$(mktemp -d)
trap 'rm -rf "$area"' EXIT
head -c 65536 > "$area/csr"
openssl req -in "$area/csr" -verify -noout 2> /dev/null || fail 77 "the request is not signed by its key"
# Every requested name, including the common name, one per line.
names=$(openssl req -in "$area/csr" -noout -subject -nameopt multiline | sed -n 's/^ *commonName *= //p'
    openssl req -in "$area/csr" -noout -text | sed -n '/Subject Alternative Name/{n;s/, /\n/g;p}' | sed 's/^ *\(DNS\|IP Address\)://')
while read -r name; do [[ $name =~ $ALLOWED ]] || fail 77 "the name '$name' is not allowed"; done <<< "$names"
[ "$lifetime" -gt 0 ] && [ "$lifetime" -lt "$LONGEST" ] || lifetime=$LONGEST
printf '%s\n' 'basicConstraints = critical, CA:FALSE' 'keyUsage = critical, digitalSignature' "extendedKeyUsage = $usage" \
    'subjectKeyIdentifier = hash' 'authorityKeyIdentifier = keyid' > "$area/extensions"
# Before OpenSSL 3.4 `openssl x509` counts only in days, so the end is rounded up.
openssl x509 -req -in "$area/csr" -CA "$CA_CERT" -CAkey "$CA_KEY" -set_serial "0x$(openssl rand -hex 16)" \
    -days $(((lifetime + 86399) / 86400)) -sha256 -copy_extensions copy -extfile "$area/extensions" 2> "$area/errors" ||
    fail 1 "$(tail -n 1 "$area/errors")"
