#!/usr/bin/env bash
# Installs the Debian packages that building, testing and the demonstration need, and leaves no service running.
# Usage: scripts/install-deps.sh [servers|build|tests|reports|images]…   (servers and tests when none is named)
set -euo pipefail

servers=(bind9 bind9-dnsutils knot pdns-server pdns-backend-lmdb pdns-backend-sqlite3 sqlite3)
build=(gcc libc6-dev make curl)
tests=("${build[@]}" faketime ddclient inadyn ddupdate wget pebble lego libio-socket-inet6-perl libio-socket-ssl-perl iproute2 nginx-light caddy systemd postgresql fail2ban mandoc haproxy prometheus)
reports=(valgrind)
images=(mmdebstrap debian-archive-keyring binutils python3)
services=(named knot pdns ddclient inadyn nginx caddy postgresql fail2ban haproxy prometheus)
policy=/usr/sbin/policy-rc.d

die() {
    echo "install-deps: $*" >&2
    exit 1
}

check_cargo() {
    local wanted found
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)".*/\1/p' "$(dirname "$0")/../Cargo.toml" | head -n 1)
    [ -n "$wanted" ] || die "no rust-version in Cargo.toml"
    command -v cargo >/dev/null || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    command -v cargo >/dev/null ||
        die "cargo is not installed; Rust $wanted or newer is needed: see https://rustup.rs, or run
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh"
    found=$(cargo --version | awk '{ print $2 }')
    [ "$(printf '%s\n' "$wanted" "${found%%-*}" | sort -V | head -n 1)" = "$wanted" ] ||
        die "cargo is $found, Rust $wanted or newer is needed: rustup update stable (see https://rustup.rs)"
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

has_unit() {
    systemctl cat "$1.service" >/dev/null 2>&1
}

# Packages start their services while they are installed unless policy-rc.d forbids it; one that is there already is
# its owner's word, and stays.
forbid_starts() {
    if [ -e "$policy" ]; then
        return
    fi
    trap '"${root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\n# dyngate: while scripts/install-deps.sh runs\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
    "${root[@]}" chmod 755 "$policy"
}

check_cargo
[ $# -gt 0 ] || set -- servers tests
wanted=()
for group in "$@"; do
    case $group in
    servers) wanted+=("${servers[@]}") ;;
    build) wanted+=("${build[@]}") ;;
    tests) wanted+=("${tests[@]}") ;;
    reports) wanted+=("${reports[@]}") ;;
    images) wanted+=("${images[@]}") ;;
    *) die "unknown group '$group'; known: servers build tests reports images" ;;
    esac
done

command -v dpkg-query >/dev/null || die "this is not Debian; install the like of: ${wanted[*]}"
missing=()
for package in "${wanted[@]}"; do
    installed "$package" || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || die "missing: ${missing[*]}
    neither root nor sudo here; run as root: apt-get install --no-install-recommends ${missing[*]}"
    root=(sudo)
fi

systemd=no
before=()
if [ -d /run/systemd/system ]; then
    systemd=yes
    for service in "${services[@]}"; do
        has_unit "$service" && before+=("$service")
    done
fi

echo "install-deps: installing ${missing[*]}"
forbid_starts
apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
"${apt[@]}" update
"${apt[@]}" install --no-install-recommends -y "${missing[@]}" >/dev/null

if [ "$systemd" = yes ]; then
    for service in "${services[@]}"; do
        case " ${before[*]} " in
        *" $service "*) continue ;;
        esac
        has_unit "$service" || continue
        echo "install-deps: $service came with these packages and would start at the next boot: disabled." \
            "The tests start servers of their own; to have it: systemctl enable --now $service"
        "${root[@]}" systemctl disable --now "$service" >/dev/null 2>&1 || true
    done
fi
