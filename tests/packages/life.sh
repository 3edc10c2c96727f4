# Run inside a booted systemd (tests/servers/systemd/boot) in a clean root by test_debian.py: the life of the package,
# from an installation of 0.1 by hand to purge. What is found goes to /mnt/told, a JSON row each.
set -euo pipefail
export DEBIAN_FRONTEND=noninteractive
echo 'APT::Get::Assume-Yes "true";' > /etc/apt/apt.conf.d/yes

until_true() {
    for _ in $(seq 300); do
        if eval "$1" > /dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "in vain: $1"
    certagent status || true
    journalctl -u certagent -n 30 -o cat
    exit 1
}
tell() { printf '{"%s": "%s"}\n' "$1" "$2" >> /mnt/told; }
shows() { systemctl show "$1" -p "$2" --value; }
served() { certagent status | grep '^  node .* served'; }
documented() { (cd /root && bash -euo pipefail "/mnt/$1"); } # a block of docs/install.md, as it is written
certs=/var/lib/cockroach/certs
digest() { find "$@" -type f ! -path '*/.certagent/*' | LC_ALL=C sort | xargs cat | sha256sum; }

# what documents of 0.1 had an operator do by hand
documented user
install -d /opt/certagent/bin /etc/bash_completion.d /etc/certagent
touch /etc/systemd/system/certagent.service /etc/bash_completion.d/certagent
ln -s /opt/certagent/bin/certagent /usr/bin/certagent

cp /mnt/before.deb "/root/$(cat /mnt/name)"
documented install 2>&1 | tee /mnt/installing
tell hides "$(grep -c 'hides the unit' /mnt/installing)"
documented by-hand
tell left "$(find /opt/certagent /etc/bash_completion.d/certagent /etc/systemd/system/certagent.service 2> /dev/null)"
tell installed "$(certagent --version)"
tell idle "$(shows certagent ActiveState) $(systemctl is-enabled certagent)"
tell worker "$(getent passwd certagent-worker | cut -d: -f6-)"
tell verified "$(dpkg --verify certagent)"
tell compiled "$(find /usr/lib/certagent -name '*.pyc' | grep -c cpython-311 | sed 's/.*/yes/')"

tell catalogue "$(journalctl --list-catalog | grep -c certagent | sed 's/^[1-9].*/yes/')"

# the first start without a configuration says what is missing, and is not tried again
systemctl start certagent 2> /dev/null || true
until_true 'test "$(shows certagent ActiveState)" = failed'
tell unconfigured "$(shows certagent ExecMainStatus) $(journalctl -u certagent -o cat | grep -c 'config.toml: cannot be read')"
systemctl reset-failed certagent

install -m 0644 /mnt/config.toml /etc/certagent/config.toml
documented start
until_true "test -e $certs/client.root.crt"
documented standin
until_true served
tell renewed "$(certagent renew node)"
tell confined "$(certagent status --json | grep -c worker.unconfined)"

# upgrade: what ran runs again, by the new version; nothing is issued or reloaded for it
before=$(digest "$certs" /var/lib/certagent/ca)
reloads=$(grep -c '"reload"' /var/lib/cockroach/log)
cp /mnt/after.deb "/root/$(cat /mnt/name)"
documented upgrade
tell upgraded "$(certagent --version) $(shows certagent ActiveState)"
until_true served
tell daemon "$(certagent status --json | grep -c '"version": "0.1.9"')"
test "$before" = "$(digest "$certs" /var/lib/certagent/ca)" && tell kept_by_upgrade yes
tell reloads "$(($(grep -c '"reload"' /var/lib/cockroach/log) - reloads))"
tell renewed_after "$(certagent renew node)"
certagent renew node --json > /mnt/said.command
for verb in status plan check history; do certagent "$verb" --json > "/mnt/said.$verb" || true; done

# remove: stopped; configuration, state and certificates stay, and cockroach serves on
before=$(digest "$certs" /var/lib/certagent/ca /etc/certagent)
documented remove
tell removed "$(shows certagent ActiveState) $(shows certagent LoadState)"
tell program "$(find /usr/lib/certagent /usr/bin/certagent 2> /dev/null)"
test "$before" = "$(digest "$certs" /var/lib/certagent/ca /etc/certagent)" && tell kept_by_remove yes
test -e /var/lib/certagent/ledger.db && tell ledger kept
tell server "$(shows cockroach ActiveState)"

# purge: configuration and state go; a certs directory stays wherever it is
before=$(digest "$certs")
install -d /var/lib/certagent-second/certs && touch /var/lib/certagent-second/certs/node.crt
documented purge 2>&1 | tee /mnt/purging
tell stays "$(grep -c 'certagent-second stays' /mnt/purging)"
tell places "$(find /etc/certagent /var/lib/certagent /var/lib/certagent-second/certs/node.crt 2> /dev/null | xargs)"
tell links "$(find /etc/systemd/system -name 'certagent*')"
test "$before" = "$(digest "$certs")" && tell kept_by_purge yes
tell status "$(dpkg-query -W -f '${Status}' certagent 2> /dev/null || echo unknown)"
