#!/usr/bin/env bash
# Sees to it that the engine has the base images of the Dockerfiles, under the names that they are pulled by. What cannot be
# pulled is made here: Debian from Debian's packages, Rust from that and the toolchain of this machine.
# Usage: scripts/base-images.sh IMAGE…          (debian:trixie-slim, debian:bookworm-slim, rust:1.95-trixie)
# What was made is labelled `dyngate.made-from`, and kept in $XDG_CACHE_HOME/dyngate/images.
set -euo pipefail
here=$(dirname "$0")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/dyngate/images
mirror=http://deb.debian.org

die() {
    echo "base-images: $*" >&2
    exit 1
}

# The suite is what is pinned: Debian's mirrors keep no older packages. Which versions came is in the image.
debian() {
    local image=$1 suite=${1#debian:}
    suite=${suite%-slim}
    local tar=$cache/$suite.tar
    if [ ! -s "$tar" ]; then
        command -v mmdebstrap >/dev/null || "$here/install-deps.sh" images
        mkdir -p "$cache"
        echo "base-images: $image cannot be pulled: making it from Debian's packages" >&2
        # As in the slim images: no manuals, no translations, licences stay.
        mmdebstrap --quiet --variant=apt --format=tar \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
            --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
            "$suite" "$tar.new" \
            "deb $mirror/debian $suite main" "deb $mirror/debian $suite-updates main" \
            "deb $mirror/debian-security $suite-security main"
        mv "$tar.new" "$tar"
    fi
    docker import --change 'CMD ["bash"]' --change "LABEL dyngate.made-from=debian-packages" "$tar" "$image" >/dev/null
}

rust() {
    local image=$1 version=${1#rust:} toolchain context
    version=${version%%-*}
    toolchain=$(rustc --print sysroot) || die "$image cannot be pulled, and no Rust is here to make it from"
    [[ $("$toolchain/bin/rustc" --version) = "rustc $version."* ]] ||
        die "$image cannot be pulled, and the Rust here is $("$toolchain/bin/rustc" --version)"
    "$0" "debian:${image##*-}-slim"
    echo "base-images: $image cannot be pulled: making it from debian:${image##*-}-slim and the toolchain here" >&2
    context=$(mktemp -d)
    trap 'rm -r "$context"' RETURN
    mkdir -p "$context/toolchain/lib/rustlib"
    cp -r "$toolchain/bin" "$context/toolchain/"
    find "$toolchain/lib" -maxdepth 1 -type f -exec cp {} "$context/toolchain/lib/" \;
    cp -r "$toolchain"/lib/rustlib/*-linux-gnu "$context/toolchain/lib/rustlib/"
    # A machine behind a proxy of its own has certificates of its own.
    cp /etc/ssl/certs/ca-certificates.crt "$context/"
    cat >"$context/Dockerfile" <<DOCKERFILE
FROM debian:${image##*-}-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev ca-certificates && rm -r /var/lib/apt/lists/*
COPY toolchain /usr/local
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
LABEL dyngate.made-from="debian-packages and a toolchain"
DOCKERFILE
    DOCKER_BUILDKIT=0 docker build --quiet --tag "$image" "$context" >/dev/null
}

[ $# -gt 0 ] || die "name the images"
for image in "$@"; do
    if docker image inspect "$image" >/dev/null 2>&1 || timeout 120 docker pull --quiet "$image" >/dev/null 2>&1; then
        continue
    fi
    case $image in
    debian:*-slim) debian "$image" ;;
    rust:*) rust "$image" ;;
    *) die "$image cannot be pulled, and nobody here knows how to make it" ;;
    esac
done
