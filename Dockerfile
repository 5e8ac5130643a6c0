# The image of dyngate: `docker build -t dyngate .`; where no image can be pulled, `make image`, which builds the binary
# outside and makes the base from Debian's packages. What is in it: the binary, glibc, CA certificates, one user.

# begin: the binary from source, which `make image` leaves out
FROM rust:1.95-trixie AS build
WORKDIR /src
COPY . .
RUN cargo build --profile dist --locked --bin dyngate && cp target/dist/dyngate /dyngate
# end

# A root file system with what a binary needs that is linked with glibc: no shell, no package manager. glibc rather than
# musl for its resolver and its allocator, which many threads do not slow down.
FROM debian:trixie-slim AS root
WORKDIR /packages
RUN set -eu; apt-get update; \
    apt-get download base-files ca-certificates libc6 libgcc-s1; \
    mkdir -p /image/var/lib/dpkg/status.d; \
    for package in *.deb; do \
        dpkg-deb --extract "$package" /image; \
        # Where scanners of images look for what is installed.
        dpkg-deb --field "$package" >"/image/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"; \
    done; \
    cat /image/usr/share/ca-certificates/mozilla/*.crt >/image/etc/ssl/certs/ca-certificates.crt; \
    # Converters of character sets, and what only a shell would read.
    rm -r /image/usr/lib/*/gconv /image/usr/share/ca-certificates /image/usr/sbin/update-ca-certificates /image/etc/skel \
        /image/etc/update-motd.d /image/etc/profile.d /image/usr/share/man /image/usr/share/lintian; \
    find /image/usr/share/doc -type f ! -name copyright -delete; \
    echo 'root:x:0:0:root:/:/nonexistent' >/image/etc/passwd; \
    echo 'dyngate:x:65532:65532:dyngate:/var/lib/dyngate:/nonexistent' >>/image/etc/passwd; \
    printf 'root:x:0:\ndyngate:x:65532:\n' >/image/etc/group; \
    echo 'hosts: files dns' >/image/etc/nsswitch.conf; \
    mkdir -p /image/etc/dyngate; \
    # A volume that is mounted here gets this owner when it is new.
    install -d -m 700 -o 65532 -g 65532 /image/var/lib/dyngate

FROM scratch
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="dyngate" \
      org.opencontainers.image.description="A DynDNS front door for the name server you already run" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.base.name="debian:trixie-slim"
COPY --from=root /image /
COPY --from=build /dyngate /usr/local/bin/dyngate
ENV PATH=/usr/local/bin
USER 65532:65532
WORKDIR /var/lib/dyngate
EXPOSE 8245 8246
STOPSIGNAL SIGTERM
# Asks /readyz of [admin] listen in the configuration that DYNGATE_CONFIG names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 CMD ["dyngate", "health"]
ENTRYPOINT ["dyngate"]
CMD ["serve"]
