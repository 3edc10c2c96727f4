# Runs inside each host of the fleet (tests/packages/fleet): a database host as somebody prepared it, without certagent.
set -euo pipefail
hostname "$(cat /mnt/name)"
useradd --system --home-dir /var/lib/cockroach cockroach
install -d -m 0755 -o cockroach -g cockroach /var/lib/cockroach
install -d -m 0700 -o cockroach -g cockroach /var/lib/cockroach/certs
install -d -m 0755 /opt/lib
cp -r /mnt/lib/. /opt/lib/  # for the stand-in of cockroach; the agent comes with its package

# It starts as soon as there are certificates.
cat > /etc/systemd/system/cockroach.service <<'UNIT'
[Unit]
StartLimitIntervalSec=0
[Service]
User=cockroach
Environment=PYTHONPATH=/opt/lib HOME=/var/lib/cockroach
ExecStart=/usr/bin/python3 -m certagent.demo.server start --certs-dir /var/lib/cockroach/certs \
    --advertise-addr localhost --ports-file /var/lib/cockroach/ports.json --log /var/lib/cockroach/log
Restart=always
RestartSec=300ms
UNIT
systemctl daemon-reload
systemctl start cockroach

mkdir -p /run/sshd
ssh-keygen -q -A
/usr/sbin/sshd -o StrictModes=no -o UsePAM=no -o PidFile=none -o AuthorizedKeysFile=/mnt/authorized_keys
touch /mnt/ready
until [ -e /mnt/stop ]; do sleep 0.1; done
