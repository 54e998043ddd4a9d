# An image that serves every model found in /models:
#   docker build -t flambeau --build-arg FLAMBEAU_COMMIT=$(git rev-parse HEAD) .
#   docker run -p 8080:8080 -p 8082:8082 -v "$PWD/build/demo/model-store:/models:ro" flambeau
# Models are registered and removed through the management API, which listens inside the container only. Where others
# reach it, it asks for tokens and does not start without them:
#   -e FLAMBEAU_MANAGEMENT_ADDRESS=http://0.0.0.0:8081 -p 8081:8081 -e FLAMBEAU_TOKEN_FILE=/run/secrets/tokens.json
# (or -e FLAMBEAU_INSECURE=true, on a network that you trust). A model store that may be written keeps what was registered
# for the next start.

FROM debian:bookworm-slim AS build
WORKDIR /flambeau
# Packages and libtorch are a layer of their own: a change of our sources does not fetch them again.
COPY run ./
RUN ./run setup
COPY . .
# What flambeau-train writes into archives: the context has no .git.
ARG FLAMBEAU_COMMIT=
RUN ./run build release

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libarchive13 libcurl4 libfmt9 libgomp1 \
       libjpeg62-turbo libpng16-16 libutf8proc2 libwebp7 \
       libmimalloc2.0 libprometheus-cpp-core1.0 libsimdjson14 libspdlog1.10 libssl3 libyaml-cpp0.7 zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --home-dir /models --create-home flambeau
# The programs look for libtorch at the path where they were linked.
COPY --from=build /flambeau/build/libtorch/lib/*.so* /flambeau/build/libtorch/lib/
COPY --from=build /flambeau/build/release/bin/flambeau /flambeau/build/release/bin/libflambeau_torchscript.so \
     /flambeau/build/release/bin/flambeau-train /usr/local/bin/
# The command lines of TorchServe's own programs.
RUN ln -s flambeau /usr/local/bin/torchserve && ln -s flambeau /usr/local/bin/torch-model-archiver
USER flambeau
ENV FLAMBEAU_INFERENCE_ADDRESS=http://0.0.0.0:8080 \
    FLAMBEAU_METRICS_ADDRESS=http://0.0.0.0:8082 \
    FLAMBEAU_MODEL_STORE=/models \
    FLAMBEAU_LOAD_MODELS=all
EXPOSE 8080 8081 8082
ENTRYPOINT ["flambeau", "serve"]
