#!/bin/sh
# Starts PowerDNS; at the first start it makes the zone, and lets the key change it.
set -eu
util() { pdnsutil --config-dir=/compose "$@"; }
if [ ! -e /var/lib/powerdns/made ]; then
    rm -rf /var/lib/powerdns/pdns.lmdb*
    util import-tsig-key gateway-key hmac-sha256 "$(cat /secrets/gateway-key.secret)"
    util load-zone dyn.example /compose/example.zone
    util set-kind dyn.example primary
    util set-meta dyn.example TSIG-ALLOW-DNSUPDATE gateway-key
    touch /var/lib/powerdns/made
fi
exec pdns_server --config-dir=/compose
