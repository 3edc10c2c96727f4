#!/usr/bin/env bash
# SCEP (RFC 8894) by scepclient (apt: scep). The request is certagent's; the message around it is signed by a key made
# for this one request. certagent: type = "command"; SCEP_URL; the challenge password, where there is one, must stand in
# the request itself: `challenge`. scepserver's certificates are for clients only and lose their SANs: client.* pairs.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${SCEP_URL:?set it in [authority.NAME] environment}"
cd "$TMPDIR"
if [ "$CERTAGENT_OPERATION" = roots ]; then
    curl -fsS --max-time 20 "$SCEP_URL?operation=GetCACert" -o ca.der || fail 69 "cannot reach $SCEP_URL"
    openssl x509 -inform DER -in ca.der 2> errors || openssl pkcs7 -inform DER -in ca.der -print_certs
    exit 0
fi
cat > csr.pem # scepclient takes a request that lies beside its key
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
