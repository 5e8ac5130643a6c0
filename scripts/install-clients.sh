#!/usr/bin/env bash
# Installs the DynDNS and ACME clients from PyPI and npm that the tests drive, into target/clients; nothing outside it is touched.
# Usage: scripts/install-clients.sh   (quiet when nothing is to do; without network those tests say "SKIPPED")
set -euo pipefail

# Every package by its exact version, those they need too.
pypi=(noipy==2.0.0 requests==2.34.2 certifi==2026.10.18 charset-normalizer==3.5.2 idna==3.20 urllib3==2.8.0 ddns==4.2.0
    dyndnsc==0.6.1 json-logging==1.6.0)
npm=(ddns-client@0.2.4)
# Certbot and its plugins for acme-dns, httpreq and lego; apart, for they bring a hundred megabytes.
certbot=(certbot==5.8.0 acme==5.9.0 certbot-dns-acmedns==0.1.0 pyacmedns==0.4 certbot-lego-httpreq==0.1.4 certbot-dns-multi==5.5.1
    configargparse==1.9.0 configobj==5.0.9 cryptography==50.0.2 distro==1.9.0 josepy==2.2.0 parsedatetime==2.6 requests==2.34.2
    dnspython==2.9.2 httpx==0.28.1 httpcore==1.0.9 anyio==4.16.0 h11==0.16.0 typing_extensions==4.16.0 mock==5.2.0
    pyrfc3339==2.1.1 setuptools==84.2.1 zope.interface==8.7 certifi==2026.10.18 cffi==2.1.1 pycparser==3.12
    charset-normalizer==3.5.2 idna==3.20 pyopenssl==26.4.0 urllib3==2.8.0)
# These two exist as source alone.
of_source=certbot-dns-acmedns,pyacmedns

clients=$(cd "$(dirname "$0")/.." && pwd)/target/clients
missing=0

complain() {
    echo "install-clients: $*" >&2
    missing=1
}

# A folder counts as installed when it was moved into place as a whole, with the list of what is in it.
installed() {
    [ "$(cat "$clients/$1/installed" 2>/dev/null)" = "$2" ]
}

place() {
    echo "$2" >"$scratch/$1/installed"
    rm -rf "${clients:?}/$1"
    mv "$scratch/$1" "$clients/$1"
}

# The packages of a list of that name, into a folder of that name.
install_python() {
    local -n list=$1
    python3 -m pip --version >/dev/null 2>&1 ||
        { complain "no pip (Debian: apt-get install python3-pip); clients from PyPI stay untested"; return; }
    echo "install-clients: installing ${list[*]}"
    python3 -m pip install --quiet --no-input --disable-pip-version-check --no-deps --only-binary :all: \
        --no-binary "$of_source" --no-compile --root-user-action=ignore --target "$scratch/$1" "${list[@]}" ||
        { complain "pip failed; clients from PyPI stay untested"; return; }
    place "$1" "${list[*]}"
}

install_npm() {
    { command -v npm && command -v node; } >/dev/null 2>&1 ||
        { complain "no npm (Debian: apt-get install npm); clients from npm stay untested"; return; }
    echo "install-clients: installing ${npm[*]}"
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$scratch/npm" "${npm[@]}" ||
        { complain "npm failed; clients from npm stay untested"; return; }
    place npm "${npm[*]}"
}

if installed pypi "${pypi[*]}" && installed certbot "${certbot[*]}" && installed npm "${npm[*]}"; then
    exit 0
fi
mkdir -p "$clients"
scratch=$(mktemp -d "$clients/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
installed pypi "${pypi[*]}" || install_python pypi
installed certbot "${certbot[*]}" || install_python certbot
installed npm "${npm[*]}" || install_npm
exit "$missing"
