#!/usr/bin/env bash
# `make test-docker`: builds what is missing, then runs suite.py. Usage: tests/docker/run.sh [NAME…]
# IMAGE=dyngate:0.1.0 takes an image that is there, in place of one around a development build.
set -euo pipefail
cd "$(dirname "$0")/../.."
docker version >/dev/null 2>&1 || { echo "test-docker: no Docker engine answers (docker version): is it installed and started?" >&2; exit 1; }
compose=(docker compose)
"${compose[@]}" version >/dev/null 2>&1 || compose=(docker-compose)
"${compose[@]}" version >/dev/null 2>&1 || { echo "test-docker: neither \`docker compose\` nor \`docker-compose\` is installed" >&2; exit 1; }

# The older builder comes without a plugin.
docker buildx version >/dev/null 2>&1 || export DOCKER_BUILDKIT=0
if [ -z "${IMAGE:-}" ]; then
    IMAGE=dyngate:test
    TAG=test scripts/image.sh dev
fi
scripts/base-images.sh debian:trixie-slim
missing=()
for service in prepare bind powerdns postgres haproxy; do
    image=$(sed -n "/^  $service:/,/^  [a-z]/s/^    image: //p" docker-compose.yml)
    docker image inspect "$image" >/dev/null 2>&1 || missing+=("$service")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "test-docker: building images for ${missing[*]}"
    "${compose[@]}" --profile bind --profile powerdns --profile cluster build "${missing[@]}" >/dev/null
fi
exec python3 -B tests/docker/suite.py --image "$IMAGE" "$@"
