#!/bin/sh
# Starts PostgreSQL; at the first start it makes the cluster, the role and the database.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
    rm -rf "$data.new"
    "$bin/initdb" --pgdata="$data.new" --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --no-locale >/dev/null
    echo 'host dyngate dyngate all scram-sha-256' >>"$data.new/pg_hba.conf"
    {
        echo "CREATE ROLE dyngate LOGIN PASSWORD '$(cat /secrets/postgres.secret)';"
        echo "CREATE DATABASE dyngate OWNER dyngate;"
    } | "$bin/postgres" --single -D "$data.new" postgres >/dev/null
    mv "$data.new" "$data"
fi
exec "$bin/postgres" -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
