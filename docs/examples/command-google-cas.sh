#!/usr/bin/env bash
# Google Certificate Authority Service by gcloud. Configure type = "command" and in `environment`: CA_POOL, CA_LOCATION,
# CLOUDSDK_CORE_PROJECT, CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE (a service account's key or a workload identity file;
# name it in `readable` too). The account needs roles/privateca.certificateRequester on the pool. The pool's baseline
# values must set the key usages, because the request contains only names.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${CA_POOL:?set it in [authority.NAME] environment}" "${CA_LOCATION:?}"
export CLOUDSDK_CONFIG=$TMPDIR/gcloud CLOUDSDK_CORE_DISABLE_PROMPTS=1
cas() {
    local reason
    timeout "$CERTAGENT_TIMEOUT" gcloud privateca "$@" > /dev/null 2> "$TMPDIR/errors" < /dev/null && return
    reason=$(grep -e ERROR "$TMPDIR/errors" | tail -n 1 || true)
    case $reason in
    *RESOURCE_EXHAUSTED* | *'429'*) fail 76 "$reason" ;;
    *PERMISSION_DENIED* | *UNAUTHENTICATED* | *'credential'*) fail 78 "$reason" ;;
    *INVALID_ARGUMENT* | *FAILED_PRECONDITION* | *NOT_FOUND*) fail 77 "$reason" ;;
    *UNAVAILABLE* | *DEADLINE_EXCEEDED* | '') fail 69 "${reason:-no answer within the deadline}" ;;
    esac
    fail 1 "$reason"
}
if [ "$CERTAGENT_OPERATION" = roots ]; then
    cas pools get-ca-certs "$CA_POOL" --location "$CA_LOCATION" --output-file "$TMPDIR/roots.pem"
    exec cat "$TMPDIR/roots.pem"
fi
cat > "$TMPDIR/request.csr"
seconds=${CERTAGENT_LIFETIME:-2592000}
id=$(tr -c 'a-zA-Z0-9' - <<< "$(hostname)-$CERTAGENT_NAME" | cut -c 1-40)$(date +%s)
cas certificates create "$id" --issuer-pool "$CA_POOL" --issuer-location "$CA_LOCATION" --csr "$TMPDIR/request.csr" \
    --cert-output-file "$TMPDIR/chain.pem" --validity "PT${seconds}S"
cat "$TMPDIR/chain.pem"
