# Run inside a booted systemd (tests/servers/systemd/boot) by test_documented.py: a host as the documents take it for
# granted, then each of their blocks (/mnt/blocks/NUMBER.sh). What a command ended with goes to /mnt/ended.
set -uo pipefail

until_true() {
    for _ in $(seq 600); do
        if eval "$1" > /dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "in vain: $1"
    certagent status
    journalctl -u certagent -u cockroach -n 20 -o cat
    exit 1
}
tell() { printf '%s\n' "$2" > "/mnt/told.$1"; }

useradd --system --home-dir /var/lib/cockroach cockroach
groupadd pki
hostname db1.example.com
echo '127.0.0.1 localhost db1.example.com' > /etc/hosts
mkdir -p /opt/lib /etc/certagent /root/checkout/.venv/bin
cp -r /mnt/lib/. /opt/lib/
printf '#!/bin/sh\nPYTHONPATH=/opt/lib exec /usr/bin/python3 -m certagent "$@"\n' > /usr/bin/certagent
chmod 0755 /usr/bin/certagent
cp -r /mnt/checkout/. /root/checkout/
ln -s /usr/bin/certagent /root/checkout/.venv/bin/certagent
touch /root/checkout/.venv/.program
mkdir -p /usr/share/doc/certagent  # what the packages put there
cp -r /root/checkout/monitoring /usr/share/doc/certagent/
install -m 0644 /root/checkout/systemd/certagent* /etc/systemd/system/
install -m 0644 /mnt/config.toml /etc/certagent/config.toml
install -d -m 0755 -o cockroach -g cockroach /var/lib/cockroach
install -d -m 0700 -o cockroach -g cockroach /var/lib/cockroach/certs
cat > /etc/systemd/system/cockroach.service <<UNIT
[Service]
User=cockroach
WorkingDirectory=/var/lib/cockroach
Environment=PYTHONPATH=/opt/lib HOME=/var/lib/cockroach
ExecStart=/usr/bin/python3 -m certagent.demo.server start --certs-dir=certs --advertise-addr=db1.example.com --ports-file ports.json
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload

# the first day: the certificates exist and cockroach runs, before there is an agent
install -d -m 0700 -o cockroach -g cockroach /var/lib/certagent
runuser -u cockroach -- certagent run --once > /dev/null
systemctl start cockroach
until_true 'pgrep -x cockroach && test -e /var/lib/cockroach/ports.json'
certagent init --json > /mnt/told.init
systemctl stop cockroach
certagent init --json > /mnt/told.init_stopped
systemctl start cockroach

# what an operator has at hand: the root of the CA, a secret, and a CA's endpoint on this host
for place in /root/checkout/new-root.pem /root/checkout/root.pem /var/lib/cockroach/certs/new-root.pem; do
    cp /var/lib/certagent/ca/ca.crt "$place"
done
echo role > /root/role-id
chgrp cockroach /var/lib/prometheus/node-exporter
chmod 1775 /var/lib/prometheus/node-exporter
systemctl start prometheus-node-exporter
printf '[metrics]\ntextfile = "/var/lib/prometheus/node-exporter"\nlisten = "127.0.0.1:9464"\n' >> /etc/certagent/config.toml
systemctl start certagent certagent-metrics
until_true 'curl -sf http://127.0.0.1:9464/metrics'
until_true 'curl -s http://127.0.0.1:9100/metrics | grep certagent_'
openssl s_server -accept 9000 -cert /var/lib/cockroach/certs/node.crt -key /var/lib/cockroach/certs/node.key -quiet &
server=$!

cd /root/checkout
for block in /mnt/blocks/*.sh; do
    bash "$block" > "$block.out" 2>&1 < /dev/null
done
cd /
kill $server

# certagent doctor: a unit whose sandbox shuts a directory that its configuration names, and the remedy as it says
systemctl restart certagent
until_true 'certagent status | grep served'
certagent doctor --json > /mnt/told.doctor; tell doctor_exit $?
install -d -m 0755 -o cockroach -g cockroach /srv/crdb
cp -a /var/lib/cockroach/certs /srv/crdb/certs
rm -rf /srv/crdb/certs/.certagent
sed 's:/var/lib/cockroach/certs:/srv/crdb/certs:' /mnt/config.toml > /etc/certagent/config.toml
systemctl restart certagent
certagent doctor --offline --json > /mnt/told.doctor_shut; tell doctor_shut_exit $?
systemctl stop certagent
certagent doctor --offline --json > /mnt/told.doctor_stopped
mkdir -p /etc/systemd/system/certagent.service.d
bash -euo pipefail /mnt/mend < /mnt/told.doctor_shut > /etc/systemd/system/certagent.service.d/override.conf
cp /etc/systemd/system/certagent.service.d/override.conf /mnt/told.drop_in
systemctl daemon-reload
systemctl start certagent
certagent doctor --offline --json > /mnt/told.doctor_mended; tell doctor_mended_exit $?
exit 0
