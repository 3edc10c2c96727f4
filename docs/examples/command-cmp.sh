#!/usr/bin/env bash
# CMP (RFC 4210) by `openssl cmp` (OpenSSL 3), with p10cr because this script does not have the key. Configure
# type = "command" and in `environment`: CMP_SERVER ("host:8080"), CMP_REF, CMP_TRUSTED (the CA that signs answers and
# certificates; name it in `readable` too), optional CMP_PATH. `secret` is the shared secret. If the CA uses TLS, add
# -tls_used and -tls_trusted.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${CMP_SERVER:?set it in [authority.NAME] environment}" "${CMP_REF:?}" "${CMP_TRUSTED:?}"
[ "$CERTAGENT_OPERATION" = issue ] || fail 64 "CMP's roots come from issuing_roots"
cat > "$TMPDIR/request.csr"
if openssl cmp -cmd p10cr -csr "$TMPDIR/request.csr" -server "$CMP_SERVER" -path "${CMP_PATH:-pkix/}" \
    -ref "$CMP_REF" -secret "file:/dev/fd/$CERTAGENT_SECRET_FD" -trusted "$CMP_TRUSTED" -untrusted "$CMP_TRUSTED" \
    -total_timeout "$CERTAGENT_TIMEOUT" -certout "$TMPDIR/leaf.crt" -extracertsout "$TMPDIR/extra.crt" \
    > "$TMPDIR/log" 2>&1 < /dev/null; then
    cat "$TMPDIR/leaf.crt" "$TMPDIR/extra.crt" 2> /dev/null || cat "$TMPDIR/leaf.crt"
    exit 0
fi
reason=$(grep -i -e 'error:' -e 'PKIStatus' "$TMPDIR/log" | tail -n 1 | sed 's/^.*error:[0-9A-F]*:*//I')
case $(cat "$TMPDIR/log") in
*'PKIStatus: rejection'*) fail 77 "$reason" ;;
*'wrong pbm'* | *'bad message'* | *'error validating protection'*) fail 78 "$reason" ;;
*'connect timeout'* | *'transfer error'* | *'total timeout'*) fail 69 "$reason" ;;
esac
fail 1 "${reason:-openssl cmp failed}"
