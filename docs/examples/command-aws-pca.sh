#!/usr/bin/env bash
# AWS Private CA by the AWS CLI. Configure type = "command" and in `environment`: CA_ARN, AWS_REGION, AWS_CONFIG_FILE or
# AWS_SHARED_CREDENTIALS_FILE (name the file in `readable` too); optional SIGNING (the signature algorithm of the CA's
# key) and TEMPLATE. The account needs acm-pca:IssueCertificate, GetCertificate and GetCertificateAuthorityCertificate on
# that ARN. The shortest validity is a day.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${CA_ARN:?set it in [authority.NAME] environment}"
export AWS_PAGER= # version 2 would open a pager and wait for a key
pca() { # run aws acm-pca ..., and translate its failures into certagent's exit codes
    local reason
    timeout "$CERTAGENT_TIMEOUT" aws acm-pca "$@" --output text 2> "$TMPDIR/errors" < /dev/null && return
    reason=$(grep . "$TMPDIR/errors" | tail -n 1 || true)
    case $reason in
    *RequestInProgress*) echo "state: ${certificate:-}"; echo "retry-after: 10"; fail 75 "the certificate is not ready yet" ;;
    *Throttling* | *LimitExceeded* | *TooManyRequests*) fail 76 "$reason" ;;
    *AccessDenied* | *ExpiredToken* | *InvalidClientTokenId* | *'locate credentials'* | *SignatureDoesNotMatch*) fail 78 "$reason" ;;
    *MalformedCSR* | *InvalidArgs* | *InvalidState* | *ResourceNotFound* | *ValidationException*) fail 77 "$reason" ;;
    *'connect to'* | *'timeout'* | '') fail 69 "${reason:-no answer within the deadline}" ;;
    esac
    fail 1 "$reason"
}
if [ "$CERTAGENT_OPERATION" = roots ]; then
    pca get-certificate-authority-certificate --certificate-authority-arn "$CA_ARN" --query '[Certificate, CertificateChain]' |
        sed -e 's/\t/\n/g' -e '/^None$/d'
    exit 0
fi
case $CERTAGENT_USAGE in # names come from the request, usages from the template
serverAuth,clientAuth) usage=EndEntityCertificate ;;
serverAuth) usage=EndEntityServerAuthCertificate ;;
*) usage=EndEntityClientAuthCertificate ;;
esac
certificate=$CERTAGENT_STATE # set if an earlier run had to wait
if [ -z "$certificate" ]; then
    cat > "$TMPDIR/request.csr"
    seconds=${CERTAGENT_LIFETIME:-2592000}
    certificate=$(pca issue-certificate --certificate-authority-arn "$CA_ARN" --csr "fileb://$TMPDIR/request.csr" \
        --signing-algorithm "${SIGNING:-SHA256WITHECDSA}" --query CertificateArn \
        --template-arn "${TEMPLATE:-arn:aws:acm-pca:::template/$usage/V1}" \
        --validity "Value=$(((seconds + 86399) / 86400)),Type=DAYS" \
        --idempotency-token "$(openssl dgst -sha256 -r "$TMPDIR/request.csr" | cut -c 1-32)") || exit
fi
pca get-certificate --certificate-authority-arn "$CA_ARN" --certificate-arn "$certificate" --query '[Certificate, CertificateChain]' |
    sed -e 's/\t/\n/g' -e '/^None$/d'
