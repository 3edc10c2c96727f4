# Run inside a booted systemd (tests/servers/systemd/boot) by test_systemd.py: what is found goes to /mnt/told, a JSON row each.
set -euo pipefail

until_true() {
    for _ in $(seq 600); do
        if eval "$1" > /dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "in vain: $1"
    certagent status || true
    certagent status -c /etc/certagent/root.toml || true
    journalctl -u certagent -u certagent-root -u certagent@second -n 20 -o cat
    exit 1
}
tell() { printf '{"%s": "%s"}\n' "$1" "$2" >> /mnt/told; }
shows() { systemctl show "$1" -p "$2" --value; }
status() { certagent status "$@" || true; }
served() { status "$@" | grep '^  node .* served$'; }
owners() { find "${1:-/var/lib/cockroach/certs}" -printf '%u\n' | sort -u | xargs; }
sandbox() { grep -h -E '^(CapEff|NoNewPrivs|Seccomp):' "/proc/$(shows "$1" MainPID)/status" | xargs; }
server() {
    systemd-run --quiet --unit="$1" --uid=cockroach --gid=cockroach --setenv=PYTHONPATH=/opt/lib --setenv=HOME="$3" \
        /usr/bin/python3 -m certagent.demo.server start --certs-dir "$2" \
        --advertise-addr localhost --ports-file "$3/ports.json" --log "$3/log"
}
metrics() {
    exec 3<> /dev/tcp/127.0.0.1/9464
    printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
    cat <&3
}
second() { certagent "$@" -c /etc/certagent/second.toml; }

useradd --system --home-dir /var/lib/cockroach cockroach
useradd --system --home-dir /srv/second second
install -d -m 0755 /opt/lib /etc/certagent /etc/systemd/system/certagent.service.d /etc/systemd/system/certagent@second.service.d
cp -r /mnt/lib/. /opt/lib/
printf '#!/bin/sh\nPYTHONPATH=/opt/lib exec /usr/bin/python3 -m certagent "$@"\n' > /usr/bin/certagent
chmod 0755 /usr/bin/certagent
cp /mnt/config.toml /mnt/second.toml /mnt/root.toml /etc/certagent/
install -m 0644 /mnt/certagent*.service /etc/systemd/system/
install -d -m 0755 -o cockroach -g cockroach /var/lib/cockroach
install -d -m 0700 -o cockroach -g cockroach /var/lib/cockroach/certs
install -d -m 0755 -o second -g second /srv/second
install -d -m 0700 -o second -g second /srv/second/certs
# the directory of node_exporter, as its package makes it, opened as documented
install -d -m 0755 -o root -g root /var/lib/prometheus/node-exporter
bash -euo pipefail /mnt/textfile
# the drop-in that the unit shows
printf '[Service]\nReadWritePaths=/srv/second\n' > /etc/systemd/system/certagent@second.service.d/place.conf
# the same unit, a shorter wait
printf '[Service]\nWatchdogSec=3\nRestartSec=200ms\nTimeoutStopSec=2\n' > /etc/systemd/system/certagent.service.d/test.conf
systemctl daemon-reload

# the further owner's state as 0.1 had it: the first agent does not start before it was moved, as documented
install -d -m 1771 -o root -g cockroach /var/lib/certagent
install -d -m 0700 -o second -g second /var/lib/certagent/second
runuser -u second -- certagent run --once -c /etc/certagent/second.toml > /dev/null || true
before=$(sha256sum < /var/lib/certagent/second/ca/ca.key)
systemctl start certagent 2> /dev/null || tell second_refused "$(shows certagent AssertResult)"
bash -euo pipefail /mnt/upgrade
test "$before" = "$(sha256sum < /var/lib/certagent-second/ca/ca.key)" && tell second_kept_ca yes

# the further owner first: what it keeps stays its own when the main agent starts, and stops
systemctl start certagent@second
tell second_started "$(shows certagent@second ActiveState) $(shows certagent@second Type)"
until_true 'test -e /srv/second/certs/client.root.crt'
tell second_sandbox "$(sandbox certagent@second)"

systemctl start certagent
tell started "$(shows certagent ActiveState) $(shows certagent Type)"
until_true 'test -e /var/lib/cockroach/certs/client.root.crt'
server cockroach /var/lib/cockroach/certs /var/lib/cockroach
until_true served
tell renewed "$(certagent renew node)"
# the log: native fields, priorities, and explanations from the message catalogue
install -D -m 0644 /mnt/certagent.catalog /usr/lib/systemd/catalog/certagent.catalog
journalctl --update-catalog
journalctl --flush --sync || true
tell journal_installed "$(journalctl CERTAGENT_EVENT=pair.installed _SYSTEMD_UNIT=certagent.service -o cat --output-fields=CERTAGENT_FILE | sort -u | xargs)"
tell journal_errors "$(journalctl -u certagent -p err -o cat SYSLOG_IDENTIFIER=certagent | wc -l)"
tell journal_priority "$(journalctl CERTAGENT_EVENT=ca.created _SYSTEMD_UNIT=certagent.service -o cat --output-fields=PRIORITY)"
tell journal_explains "$(journalctl -x --no-pager CERTAGENT_EVENT=ca.created _SYSTEMD_UNIT=certagent.service | grep -c 'What to do: keep a backup')"
tell status "$(shows certagent StatusText)"
systemctl reload certagent
until_true 'journalctl -u certagent -o cat | grep config.loaded'
tell reloaded "$(shows certagent ActiveState)"
tell sandbox "$(sandbox certagent)"
tell owners "$(owners)"
tell second_renewed "$(second renew node)"
tell second_state "$(owners /var/lib/certagent-second) $(owners /run/certagent-second)"
systemctl reload certagent@second
until_true 'journalctl -u certagent@second -o cat | grep config.loaded'
tell second_to_others "$(runuser -u nobody -- certagent status -c /etc/certagent/second.toml | grep -c 'agent pid')"

until_true 'test -e /var/lib/prometheus/node-exporter/certagent-config.prom'
tell textfile "$(stat -c '%a %U' /var/lib/prometheus/node-exporter/certagent-config.prom)"
systemctl start certagent-metrics
until_true 'metrics | grep ^certagent_last_turn_timestamp_seconds'
tell port_sandbox "$(sandbox certagent-metrics)"
tell port_user "$(stat -c %U "/proc/$(shows certagent-metrics MainPID)")"

first=$(shows certagent MainPID)
kill -STOP "$first"
until_true "test \$(shows certagent MainPID) != $first -a \$(shows certagent MainPID) != 0 -a \$(shows certagent ActiveState) = active"
tell restarts "$(shows certagent NRestarts)"
tell watchdog "$(journalctl -u certagent -o cat | grep -c -i 'watchdog timeout')"
until_true served
tell renewed_after "$(certagent renew node)"

systemctl stop certagent
tell stopped "$(shows certagent Result)"
until_true 'metrics | grep "503 Service Unavailable"'
tell port_without "$(shows certagent-metrics ActiveState)"
tell second_beside "$(second status | grep -c 'agent pid')"
systemctl restart certagent@second
tell second_renewed_after "$(second renew node)"
# root's agent: a directory that only root can write, for a server of another user; the cockroach's own it leaves alone
install -d -m 0755 /srv/rooted /etc/systemd/system/certagent-root.service.d
install -d -m 0750 -o root -g cockroach /srv/rooted/certs
install -d -m 0755 -o cockroach /srv/rooted/log
printf '[Service]\nReadWritePaths=/srv/rooted\n' > /etc/systemd/system/certagent-root.service.d/place.conf
systemctl daemon-reload
touch /run/before
systemctl start certagent-root
until_true 'test -e /srv/rooted/certs/client.root.crt'
server rooted /srv/rooted/certs /srv/rooted/log
until_true 'served -c /etc/certagent/root.toml'
tell root_renewed "$(certagent renew node --certs-dir /srv/rooted/certs -c /etc/certagent/root.toml)"
tell root_sandbox "$(sandbox certagent-root)"
tell root_key "$(stat -c '%U:%G %a' /srv/rooted/certs/node.key)"
tell root_owners "$(owners /srv/rooted/certs)"
found=$(status --json -c /etc/certagent/root.toml | grep -A4 '"code": "dir.foreign"')
tell root_left_alone "$(grep -o 'dir.foreign' <<< "$found")"
tell root_names "$(grep -o 'systemctl enable --now certagent@cockroach' <<< "$found")"
tell root_changed "$(find /var/lib/cockroach/certs -newercm /run/before | wc -l)"
systemctl stop certagent-root
tell second_last "$(second renew node)"
tell second_owners "$(owners /srv/second/certs) $(owners /var/lib/certagent-second)"
tell uid "$(id -u cockroach)"
cp /var/lib/cockroach/log /mnt/server.log
cp /srv/rooted/log/log /mnt/rooted.log
