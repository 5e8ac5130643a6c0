#!/usr/bin/env bash
# Runs the suite against the name servers of Debian 13 (BIND 9.20, Knot DNS 3.4, PowerDNS 4.9): the test binary that was built here,
# in a container that has them. Usage: tests/docker/debian13.sh [NAME…]    (default: every test that starts a name server)
set -euo pipefail
cd "$(dirname "$0")/../.."
docker version >/dev/null 2>&1 || { echo "test-debian13: no Docker engine answers (docker version)" >&2; exit 1; }
# The older builder comes without a plugin.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
image=dyngate-servers:debian13
scripts/base-images.sh debian:trixie-slim
packages="bind9=1:9.20.* bind9-dnsutils knot=3.4.* knot-dnsutils pdns-server=4.9.* pdns-backend-lmdb pdns-backend-sqlite3
    sqlite3 postgresql haproxy procps faketime curl ca-certificates"
# At once where it is there with these packages.
docker build --quiet --build-arg "PACKAGES=$packages" --tag "$image" packaging/compose >/dev/null
cargo build --locked --bin dyngate
suite=$(cargo test --locked --test suite --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"name":"suite".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -x "$suite" ] || { echo "test-debian13: the suite could not be built: cargo test --test suite --no-run" >&2; exit 1; }
name=dyngate-debian13-$$
trap 'docker rm --force --volumes "$name" >/dev/null 2>&1 || true' EXIT
docker run --rm --name "$name" "$image" sh -c \
    'named -v; knotd --version; pdns_server --version 2>&1 | head -n 1 | cut -d " " -f 4-'
# What needs nginx, systemd, fail2ban or mandoc has nothing to do with the version of a name server. /tmp, where the servers write,
# is a volume: a container's own file system may be several times slower.
docker run --rm --init --name "$name" --network=none --sysctl net.ipv6.conf.all.disable_ipv6=0 \
    --volume "$PWD:$PWD:ro" --volume /tmp --workdir "$PWD" "$image" "$suite" --test-threads=4 \
    --skip deploying --skip fail2ban --skip manual --skip completions --skip client_config --skip rooms --skip nginx "$@"
