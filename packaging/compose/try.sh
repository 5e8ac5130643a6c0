#!/bin/sh
# Says what to try, once the gateway of docker-compose.yml serves; DYNGATE_HTTP, DYNGATE_ADMIN and DYNGATE_DNS are what it publishes.
# Usage: try.sh [FOLDER]
set -eu
secret=$(cat "${1:-/secrets}/router1.secret")
cat <<TEXT
dyngate serves. login router1, secret $secret
curl -u router1:$secret 'http://127.0.0.1:${DYNGATE_HTTP##*:}/nic/update?hostname=home.dyn.example&myip=198.51.100.7'
dig +short -p ${DYNGATE_DNS##*:} home.dyn.example @127.0.0.1
curl http://127.0.0.1:${DYNGATE_ADMIN##*:}/readyz
TEXT
