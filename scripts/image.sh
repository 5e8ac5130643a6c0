#!/usr/bin/env bash
# Builds the image `dyngate:VERSION` and `dyngate:latest`, or $TAG alone, of the Dockerfile around a binary that is built outside, for machines
# where no image can be pulled; writes its SBOM to target/image. Where images can be pulled, `docker build .` does.
# Usage: scripts/image.sh [PROFILE]             (dist; dev is quick, large, and for the tests)
set -euo pipefail
cd "$(dirname "$0")/.."
profile=${1:-dist}

docker version >/dev/null 2>&1 || { echo "image: no Docker engine answers (docker version): is it installed and started?" >&2; exit 1; }
# The older builder comes without a plugin.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
scripts/base-images.sh debian:trixie-slim
cargo build --profile "$profile" --locked --bin dyngate
target=${CARGO_TARGET_DIR:-target}
binary=$target/${profile/#dev/debug}/dyngate
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
revision=$(git describe --always --dirty 2>/dev/null || echo unknown)

context=$(mktemp -d)
trap 'rm -r "$context"' EXIT
cp "$binary" "$context/dyngate"
# Debian 13 runs what Debian 12 linked, not the other way round.
[ "$profile" = dist ] || strip "$context/dyngate"
sed -e '/^# begin: /,/^# end$/d' -e 's|^COPY --from=build /dyngate |COPY dyngate |' Dockerfile >"$context/Dockerfile"
image=dyngate:${TAG:-$version}
docker build --quiet --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --tag "$image" "$context" >/dev/null
[ -n "${TAG:-}" ] || docker tag "$image" dyngate:latest

mkdir -p "$target/image"
sbom=$target/image/dyngate-${image#*:}.cdx.json
scripts/sbom.py "$image" >"$sbom"
size=$(docker image inspect --format '{{.Size}}' "$image")
awk -v size="$size" -v binary="$(stat -c %s "$context/dyngate")" -v image="$image" -v sbom="$sbom" 'BEGIN {
    printf "image %s: %.1f MiB, %.1f MiB of them the binary; SBOM %s\n", image, size / 1048576, binary / 1048576, sbom }'
