# pod BASE: what a kubelet makes of deploy/kubernetes, without Kubernetes: the volumes with their links through `..data`,
# two processes of user 1000 that see each other, a root that is read-only, and a Secret that is renewed.
# BASE has first/ and second/ (what the Secret holds), config.toml, command (of the sidecar) and lib/. Needs root; runs in
# namespaces of its own: unshare --mount --pid --fork --kill-child.
set -euo pipefail
base=$1
mount --make-rprivate /
layer=$(mktemp -d)
mount -t tmpfs tmpfs "$layer"
mkdir "$layer"/{upper,work,root,secret,config}
root=$layer/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" "$root"
mkdir -p "$root"/{cockroach/cockroach-certs,state,etc/certagent,pod}
printf '#!/bin/sh\nPYTHONPATH=/pod/lib exec /usr/bin/python3 -m certagent "$@"\n' > "$root/usr/bin/certagent"
chmod 0755 "$root/usr/bin/certagent"

# as the kubelet's writer does: a new directory, and one rename
publish() {
    local volume=$1 from=$2 fresh
    fresh=$(mktemp -d "$volume/..XXXXXX")
    cp "$from"/* "$fresh"
    chgrp -R 1000 "$fresh"
    chmod 0755 "$fresh"
    chmod 0440 "$fresh"/*
    ln -s "$(basename "$fresh")" "$volume/..data_tmp"
    mv -T "$volume/..data_tmp" "$volume/..data"
    for file in "$fresh"/*; do [ -L "$volume/${file##*/}" ] || ln -s "..data/${file##*/}" "$volume/"; done
}
for volume in secret config; do mount -t tmpfs -o mode=3777,gid=1000 tmpfs "$layer/$volume"; done
publish "$layer/secret" "$base/first"
mkdir "$layer/from"
cp "$base/config.toml" "$layer/from"
publish "$layer/config" "$layer/from"
mount --bind -o ro "$layer/secret" "$root/cockroach/cockroach-certs"
mount --bind -o ro "$layer/config" "$root/etc/certagent"
for place in state tmp; do mount -t tmpfs -o mode=2777,gid=1000 tmpfs "$root/$place"; done
mount --bind "$base" "$root/pod"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -o remount,ro "$root"

inside=(chroot "$root" setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs --bounding-set=-all)
until_true() {
    for _ in $(seq 600); do
        if eval "$1" > /dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "in vain: $1"
    status
    exit 1
}
# its exit code is its severity
status() { "${inside[@]}" certagent status -c /etc/certagent/config.toml "$@" || true; }

cd /
"${inside[@]}" env PYTHONPATH=/pod/lib HOME=/tmp /usr/bin/python3 -m certagent.demo.server start \
    --certs-dir /cockroach/cockroach-certs --advertise-addr localhost --ports-file /tmp/ports --log /pod/out/server.log &
until_true 'test -e "$root/tmp/ports"'
"${inside[@]}" sh -c "$(cat "$base/command")" > "$base/agent.log" 2>&1 &
agent=$!
until_true 'status | grep "^  node .* served"'
status --json > "$base/before.json"
publish "$layer/secret" "$base/second"
until_true 'grep -q "\"event\": \"reload\"" "$base/out/server.log" && status | grep "^  node .* served"'
status --json > "$base/after.json"
# as the kubelet ends a container
kill "$agent"
ended=0
wait "$agent" || ended=$?
echo "$ended" > "$base/ended"
