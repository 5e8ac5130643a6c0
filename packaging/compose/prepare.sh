#!/bin/sh
# Makes what docker-compose.yml needs in /secrets: the TSIG key, the account's secret, and the gateway.toml with its
# digest. A key or secret that is there stays; gateway.toml is written anew from the one beside this script.
# Usage: prepare.sh [FOLDER [GROUP]]
set -eu
umask 027
here=$(dirname "$0")
folder=${1:-/secrets}
group=${2:-8245}

key=$folder/gateway-key.key
secret=$folder/router1.secret
if [ ! -s "$key" ]; then
    keymgr -t gateway-key hmac-sha256 >"$key.new"
    mv "$key.new" "$key"
fi
if [ ! -s "$secret" ]; then
    head -c 20 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$secret.new"
    mv "$secret.new" "$secret"
fi

# As `dyngate hash --generate` does: $sha256$ and the base64 of the digest's 32 octets. `env printf` knows \x, sh's may not.
octets=$(sha256sum <"$secret" | cut -c 1-64 | sed 's/../\\x&/g')
digest="\$sha256\$$(env printf "$octets" | base64)"
sed "s|^secret = .*|secret = \"$digest\"|" "$here/gateway.toml" >"$folder/gateway.toml.new"
mv "$folder/gateway.toml.new" "$folder/gateway.toml"

chgrp "$group" "$folder" "$key" "$folder/gateway.toml"
chmod 750 "$folder"
chmod 640 "$key" "$folder/gateway.toml"
chmod 600 "$secret"
echo "login router1, secret $(cat "$secret")"
echo "curl -u router1:$(cat "$secret") 'http://127.0.0.1:8245/nic/update?hostname=home.dyn.example&myip=198.51.100.7'"
