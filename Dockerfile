# The image of dyngate: `docker build -t dyngate .`; BuildKit (the default since Docker 23) is needed for the caches.
FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep crates and compiled dependencies between builds and are no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --bin dyngate \
    && cp target/dist/dyngate /dyngate

# Debian rather than scratch: glibc's resolver and allocator (musl's slows many threads down), and the same Debian that
# the tests run on.
FROM debian:bookworm-slim
COPY --from=build /dyngate /usr/local/bin/dyngate
USER 65532:65532
EXPOSE 8245 8246
STOPSIGNAL SIGTERM
ENTRYPOINT ["dyngate"]
CMD ["serve"]
