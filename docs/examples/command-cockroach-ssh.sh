#!/usr/bin/env bash
# The ca.key of `cockroach cert create-ca` stays on another host, which signs over ssh. On that host put this host's ssh
# key into authorized_keys with command="/usr/local/bin/command-cockroach-sign.sh",restrict.
# Configure type = "command" and in `environment`: CA_HOST, SSH_KEY and SSH_HOSTS (known_hosts); name both files in
# `readable` too.
set -euo pipefail
fail() { echo "$2" >&2; exit "$1"; }
: "${CA_HOST:?set it in [authority.NAME] environment}" "${SSH_KEY:?}" "${SSH_HOSTS:?}"
errors=$TMPDIR/errors
set +e
ssh -o BatchMode=yes -o ConnectTimeout=10 -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes \
    -o UserKnownHostsFile="$SSH_HOSTS" -i "$SSH_KEY" "$CA_HOST" \
    "$CERTAGENT_OPERATION ${CERTAGENT_USAGE:-none} ${CERTAGENT_LIFETIME:-0}" 2> "$errors"
code=$?
set -e
[ $code -eq 0 ] && exit 0
reason=$(grep . "$errors" | tail -n 1 || true)
if [ $code -eq 255 ]; then # ssh's own failures
    if grep -q -e 'Permission denied' -e 'verification failed' "$errors"; then fail 78 "ssh $CA_HOST: $reason"; fi
    fail 69 "ssh $CA_HOST: $reason"
fi
fail $code "$CA_HOST: $reason"
