#!/usr/bin/env bash
# Installs the DynDNS clients from PyPI and npm that the tests drive, into target/clients; nothing outside it is touched.
# Usage: scripts/install-clients.sh   (quiet when nothing is to do; without network those tests say "SKIPPED")
set -euo pipefail

# Every package by its exact version, those they need too.
pypi=(noipy==2.0.0 requests==2.34.2 certifi==2026.10.18 charset-normalizer==3.5.2 idna==3.20 urllib3==2.8.0 ddns==4.2.0
    dyndnsc==0.6.1 json-logging==1.6.0)
npm=(ddns-client@0.2.4)

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

install_pypi() {
    python3 -m pip --version >/dev/null 2>&1 ||
        { complain "no pip (Debian: apt-get install python3-pip); clients from PyPI stay untested"; return; }
    echo "install-clients: installing ${pypi[*]}"
    python3 -m pip install --quiet --no-input --disable-pip-version-check --no-deps --only-binary :all: --no-compile \
        --root-user-action=ignore --target "$scratch/pypi" "${pypi[@]}" ||
        { complain "pip failed; clients from PyPI stay untested"; return; }
    place pypi "${pypi[*]}"
}

install_npm() {
    { command -v npm && command -v node; } >/dev/null 2>&1 ||
        { complain "no npm (Debian: apt-get install npm); clients from npm stay untested"; return; }
    echo "install-clients: installing ${npm[*]}"
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$scratch/npm" "${npm[@]}" ||
        { complain "npm failed; clients from npm stay untested"; return; }
    place npm "${npm[*]}"
}

if installed pypi "${pypi[*]}" && installed npm "${npm[*]}"; then
    exit 0
fi
mkdir -p "$clients"
scratch=$(mktemp -d "$clients/scratch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
installed pypi "${pypi[*]}" || install_pypi
installed npm "${npm[*]}" || install_npm
exit "$missing"
