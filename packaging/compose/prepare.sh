#!/bin/sh
# Makes what docker-compose.yml needs in /secrets: the TSIG key, the account's secret, and a configuration for each gateway with
# its digest. A key or secret that is there stays; configurations are written anew from the gateway.toml beside this script.
# Folders at /stores get the owner that the gateways run as.
# Usage: [DYNGATE_LIMITS=off] prepare.sh [FOLDER [GROUP]]
set -eu
umask 027
here=$(dirname "$0")
folder=${1:-/secrets}
group=${2:-8245}

for store in /stores/*; do
    if [ -d "$store" ] && [ "$(stat -c %u "$store")" != 65532 ]; then
        echo "prepare.sh: the volume ${store##*/} belonged to user $(stat -c %u "$store"); it is given to user 65532, whom the gateway runs as"
        chown -R 65532:65532 "$store" && chmod 700 "$store"
    fi
done

key=$folder/gateway-key.key
secret=$folder/router1.secret
postgres=$folder/postgres.secret
if [ ! -s "$key" ]; then
    keymgr -t gateway-key hmac-sha256 >"$key.new"
    mv "$key.new" "$key"
fi
for file in "$secret" "$postgres"; do
    if [ ! -s "$file" ]; then
        head -c 20 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$file.new"
        mv "$file.new" "$file"
    fi
done
# The same key as BIND reads it, and as PowerDNS does; the first line of the other is "# ALGORITHM:NAME:SECRET".
tsig=$(sed -n '1s/^# hmac-sha256:gateway-key://p' "$key")
[ -n "$tsig" ] || { echo "prepare.sh: $key is not what \`keymgr -t gateway-key hmac-sha256\` prints: remove it, and one is made" >&2; exit 1; }
echo "key \"gateway-key\" { algorithm hmac-sha256; secret \"$tsig\"; };" >"$folder/gateway-key.bind"
echo "$tsig" >"$folder/gateway-key.secret"

# As `dyngate hash --generate` does: $sha256$ and the base64 of the digest's 32 octets. `env printf` knows \x, sh's may not.
octets=$(sha256sum <"$secret" | cut -c 1-64 | sed 's/../\\x&/g')
digest="\$sha256\$$(env printf "$octets" | base64)"
limits=
if [ "${DYNGATE_LIMITS:-}" = off ]; then
    limits='
[limits]
host = "off"
account = "off"
source = "off"
failed_logins = "off"'
fi

# configuration FILE SED-EXPRESSION…
configuration() {
    file=$folder/$1
    shift
    { sed -e "s|^secret = .*|secret = \"$digest\"|" "$@" "$here/gateway.toml" && echo "$limits"; } >"$file.new"
    mv "$file.new" "$file"
    chgrp "$group" "$file"
    chmod 640 "$file"
}
configuration gateway.toml
configuration bind.toml -e 's|"knot"|"bind"|'
configuration powerdns.toml -e 's|"knot"|"powerdns"|'
# Two gateways on one PostgreSQL, behind haproxy, with a zone of their own.
configuration cluster.toml -e 's|dyn\.example|cluster.example|g' \
    -e "s|^url = .*|url = \"postgres://dyngate:$(cat "$postgres")@postgres/dyngate\"|" \
    -e 's|^listen = \["0.0.0.0:8245", .*|listen = [{ address = "0.0.0.0:8245", proxy_protocol = true }]\
trusted_proxies = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]    # the networks that Docker makes|'

chgrp "$group" "$folder" "$key" "$folder/gateway-key.bind" "$folder/gateway-key.secret" "$postgres"
chmod 750 "$folder"
chmod 640 "$key" "$folder/gateway-key.bind" "$folder/gateway-key.secret" "$postgres"
chmod 600 "$secret"
