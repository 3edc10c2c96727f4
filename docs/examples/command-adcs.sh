#!/usr/bin/env bash
# Active Directory Certificate Services by its web enrolment (certsrv), the counterpart of certreq on Windows.
# Configure type = "command" and in `environment`: ADCS ("https://ca.example.com/certsrv"), TEMPLATE, ADCS_CA (the TLS
# root; name it in `readable` too). Credentials: a Kerberos ticket (KRB5CCNAME, also in `readable`), or ADCS_USER and
# `secret` for NTLM.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${ADCS:?set it in [authority.NAME] environment}" "${TEMPLATE:?}" "${ADCS_CA:?}"
who=(--negotiate --user :)
if [ -n "${ADCS_USER:-}" ]; then # in a file, because every user can see arguments
    (umask 077; printf 'user = "%s:%s"\n' "$ADCS_USER" "$(cat "/dev/fd/$CERTAGENT_SECRET_FD")" > "$TMPDIR/who")
    who=(--ntlm --config "$TMPDIR/who")
fi
certsrv() { # PATH ARGUMENTS...: write the page to $TMPDIR/page
    local path=$1 status
    shift
    status=$(curl -sS "${who[@]}" --cacert "$ADCS_CA" --max-time "$CERTAGENT_TIMEOUT" -o "$TMPDIR/page" -w '%{http_code}' \
        "$@" "$ADCS/$path" 2> "$TMPDIR/errors") || fail 69 "$(tail -n 1 "$TMPDIR/errors")"
    case $status in
    200) ;;
    401 | 403) fail 78 "certsrv answered $status: check the account and its permission to enrol" ;;
    *) fail 1 "certsrv answered $status" ;;
    esac
}
certificates() { # print those of a PKCS#7 page
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
