# The images of Flambeau. Each target stands on `base`, so that what is trained and what is served run on the same Debian,
# libtorch and libraries.
#
#   docker build --target serve -t flambeau --build-arg REVISION=$(git rev-parse HEAD) .
#   docker run --read-only --tmpfs /tmp -p 8080:8080 -v "$PWD/build/demo/model-store:/models:ro" flambeau
#
# target             what it is
# base               slim Debian, the libraries of the programs, libtorch
# train              flambeau-train, the tools, the MLflow project with its sample data: docker run -v "$PWD:/work" TRAIN news …
# serve              the server; models are mounted at /models
# serve-with-model   the server with one model in it: deploy/images/README.md
#
# The server listens on 0.0.0.0:$PORT (8080), metrics on 0.0.0.0:8082. It runs as user 65532, needs no writable folder but
# /tmp, and neither a compiler nor Python is in the image. Models are registered and removed through the management API,
# which listens inside the container only. Where others reach it, it asks for tokens and does not start without them:
#   -e FLAMBEAU_MANAGEMENT_ADDRESS=http://0.0.0.0:8081 -p 8081:8081 -e FLAMBEAU_TOKEN_FILE=/run/secrets/tokens.json
# (or -e FLAMBEAU_INSECURE=true, on a network that you trust). What was registered is kept for the next start where the
# model store may be written, with -e FLAMBEAU_CONFIG_SNAPSHOTS=true.
#
# Programs that are built already: deploy/images/trees build/images/trees, then --build-context trees=build/images/trees.
ARG DEBIAN=debian:bookworm-slim

FROM ${DEBIAN} AS build
WORKDIR /flambeau
# Packages and libtorch are a layer of their own: a change of our sources does not fetch them again.
COPY run ./
RUN ./run setup
COPY . .
# What flambeau-train writes into archives: the context has no .git.
ARG REVISION=
RUN cmake --preset release -DFLAMBEAU_TESTS=OFF -DFLAMBEAU_BENCH=OFF -DFLAMBEAU_COMMIT="$REVISION" \
    && cmake --build --preset release --target programs

FROM build AS trees
RUN deploy/images/trees /

FROM ${DEBIAN} AS base
# Versions are those of the Debian release: a later build shall get its security fixes. Nothing here needs a program that
# runs as another user than its caller.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libbz2-1.0 libcurl4 libfmt9 libjpeg62-turbo \
       liblzma5 libmimalloc2.0 libnettle8 libpng16-16 libprometheus-cpp-core1.0 libsimdjson14 libspdlog1.10 libssl3 \
       libutf8proc2 libwebp7 libyaml-cpp0.7 libzstd1 zlib1g \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/ldconfig/aux-cache /var/log/apt /var/log/dpkg.log
COPY --from=trees /libtorch/ /
ENV HOME=/tmp

FROM base AS train
COPY --from=trees /server/ /
COPY --from=trees /trainer/ /
ARG REVISION=
ARG VERSION=
ARG SOURCE=
LABEL org.opencontainers.image.title="flambeau-train" org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.version=$VERSION org.opencontainers.image.source=$SOURCE \
      org.opencontainers.image.licenses="Apache-2.0"
RUN install -d -o 65532 -g 65532 /work
WORKDIR /work
USER 65532:65532
ENTRYPOINT ["flambeau-train"]
CMD ["--help"]

FROM base AS serve
COPY --from=trees /server/ /
ARG REVISION=
ARG VERSION=
ARG SOURCE=
LABEL org.opencontainers.image.title="flambeau" org.opencontainers.image.revision=$REVISION \
      org.opencontainers.image.version=$VERSION org.opencontainers.image.source=$SOURCE \
      org.opencontainers.image.licenses="Apache-2.0"
ENV FLAMBEAU_CONFIG_FILE=/etc/flambeau/config.properties
USER 65532:65532
EXPOSE 8080 8082
STOPSIGNAL SIGTERM
# `flambeau ping` asks the port of $PORT, as the server listens there. Where that asks for tokens, it needs one: FLAMBEAU_TOKEN.
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["flambeau", "ping", "--quiet"]
ENTRYPOINT ["flambeau", "serve"]

# The model: from the registry, or from a folder that deploy/images/model has filled (--build-context model=FOLDER).
# Credentials are a secret of the build, which no layer holds: --secret id=mlflow,src=FILE with MLFLOW_TRACKING_USERNAME=…
# and MLFLOW_TRACKING_PASSWORD=… (or MLFLOW_TRACKING_TOKEN=…, AWS_…), one a line.
FROM serve AS model
# Nobody runs this stage; it only fills /models.
# hadolint ignore=DL3002
USER 0
ARG MODEL_NAME
ARG MODEL_VERSION
ARG MLFLOW_TRACKING_URI
RUN --mount=type=secret,id=mlflow,required=false \
    set -eu; if [ -f /run/secrets/mlflow ]; then set -a; . /run/secrets/mlflow; set +a; fi; \
    flambeau fetch "models:/$MODEL_NAME/$MODEL_VERSION" --cache /tmp/fetched --output "/models/$MODEL_NAME.mar"; \
    flambeau archive verify "/models/$MODEL_NAME.mar"; rm -rf /tmp/fetched

FROM serve AS serve-with-model
COPY --from=model /models/ /models/
ARG MODEL_NAME=
ARG MODEL_VERSION=
LABEL flambeau.model.name=$MODEL_NAME flambeau.model.version=$MODEL_VERSION
# It is there for this model: without it a deployment shall fail at once, and say why.
ENV FLAMBEAU_EXIT_ON_LOAD_FAILURE=true
