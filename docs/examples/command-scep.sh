#!/usr/bin/env bash
# SCEP (RFC 8894) by scepclient (apt: scep). certagent makes the request; the message around it is signed by a key that
# scepclient makes for this one request. Configure type = "command" and SCEP_URL in `environment`. A challenge password
# must be in the request: set `challenge`. scepserver issues only client certificates without SANs: use it for client.*
# pairs.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${SCEP_URL:?set it in [authority.NAME] environment}"
cd "$TMPDIR"
if [ "$CERTAGENT_OPERATION" = roots ]; then
    curl -fsS --max-time 20 "$SCEP_URL?operation=GetCACert" -o ca.der || fail 69 "cannot reach $SCEP_URL"
    openssl x509 -inform DER -in ca.der 2> errors || openssl pkcs7 -inform DER -in ca.der -print_certs
    exit 0
fi
cat > csr.pem # scepclient uses a request that is in the directory of its key
if timeout "$CERTAGENT_TIMEOUT" scepclient -server-url "$SCEP_URL" -private-key "$TMPDIR/message.key" \
    -certificate "$TMPDIR/leaf.pem" > log 2>&1 < /dev/null; then
    cat leaf.pem
    exit 0
elif [ $? -eq 124 ]; then
    fail 75 "the CA has not decided yet"
fi
reason=$(tail -n 1 log)
case $reason in
*'request failed'*) fail 77 "$reason" ;;
*dial* | *'no such host'* | *timeout*) fail 69 "$reason" ;;
esac
fail 1 "$reason"
