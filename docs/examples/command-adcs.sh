#!/usr/bin/env bash
# Active Directory Certificate Services by its web enrolment (certsrv), which certreq would ask on Windows.
# certagent: type = "command"; ADCS ("https://ca.example.com/certsrv"), TEMPLATE, ADCS_CA (the TLS root, in `readable`).
# Who asks: a Kerberos ticket (KRB5CCNAME, in `readable`), or ADCS_USER and `secret` by NTLM.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${ADCS:?set it in [authority.NAME] environment}" "${TEMPLATE:?}" "${ADCS_CA:?}"
who=(--negotiate --user :)
if [ -n "${ADCS_USER:-}" ]; then # by a file: an argument would be seen by everybody
    (umask 077; printf 'user = "%s:%s"\n' "$ADCS_USER" "$CERTAGENT_SECRET" > "$TMPDIR/who")
    who=(--ntlm --config "$TMPDIR/who")
fi
certsrv() { # PATH ARGUMENTS...: the page into $TMPDIR/page
    local path=$1 status
    shift
    status=$(curl -sS "${who[@]}" --cacert "$ADCS_CA" --max-time "$CERTAGENT_TIMEOUT" -o "$TMPDIR/page" -w '%{http_code}' \
        "$@" "$ADCS/$path" 2> "$TMPDIR/errors") || fail 69 "$(tail -n 1 "$TMPDIR/errors")"
    case $status in
    200) ;;
    401 | 403) fail 78 "certsrv answered $status: check the account and its right to enrol" ;;
    *) fail 1 "certsrv answered $status" ;;
    esac
}
certificates() { # of a PKCS#7 page
    openssl pkcs7 -in "$TMPDIR/page" -print_certs 2> /dev/null || openssl pkcs7 -inform DER -in "$TMPDIR/page" -print_certs
}
if [ "$CERTAGENT_OPERATION" = roots ]; then
    certsrv 'certnew.p7b?ReqID=CACert&Renewal=-1&Enc=b64'
    certificates
    exit 0
fi
if [ -z "$CERTAGENT_STATE" ]; then
    certsrv certfnsh.asp --data-urlencode Mode=newreq --data-urlencode "CertRequest=$(cat)" --data-urlencode TargetStoreFlags=0 \
        --data-urlencode "CertAttrib=CertificateTemplate:$TEMPLATE" --data-urlencode SaveCert=yes
else
    certsrv certfnsh.asp --data-urlencode Mode=chkpnd --data-urlencode "ReqID=$CERTAGENT_STATE"
fi
id=$(grep -o -i 'certnew.cer?ReqID=[0-9]*' "$TMPDIR/page" | head -n 1 | tr -dc 0-9 || true)
if [ -z "$id" ]; then
    waiting=$(grep -o -i 'Request Id is [0-9]*' "$TMPDIR/page" | head -n 1 | tr -dc 0-9 || true)
    if [ -n "$waiting" ] && grep -q -i -e pending -e 'has been received' "$TMPDIR/page"; then
        echo "state: $waiting"
        echo "retry-after: 900"
        fail 75 "request $waiting waits for a CA manager"
    fi
    fail 77 "denied: $(sed -e 's/<[^>]*>//g' "$TMPDIR/page" | grep -i -m 1 -e denied -e disposition | tr -d '\r' || echo 'see the CA'"'"'s log')"
fi
certsrv "certnew.p7b?ReqID=$id&Enc=b64"
certificates
