# Build:  docker build -t fanout .
# Run:    docker run --rm -p 127.0.0.1:9000:9000 fanout --assets BTCUSDT,ETHUSDT tcp --host 0.0.0.0
#
# examples/deploy/compose.yaml runs it with a consumer, Prometheus and Grafana.
#
# A container has 64 MiB of /dev/shm unless told otherwise. Queues in shared memory need their
# capacity there: give --shm-size=256m, and --ipc=host (or a shared --ipc container) for a consumer
# outside this container.

FROM python:3.13-slim AS build
WORKDIR /src
# For the compiled functions. Without it the plain ones are used.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
RUN python -m venv /opt/fanout
# What is depended on, as it was when this release was made.
COPY .ci/requirements.lock ./
RUN /opt/fanout/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY protocol protocol
COPY clients clients
COPY fanout fanout
RUN /opt/fanout/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
COPY --from=build /opt/fanout /opt/fanout
RUN useradd --system --uid 10001 --no-create-home fanout
USER fanout
ENV PATH=/opt/fanout/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 9000 9464
# Connects as a client does, and succeeds once it is served. A container that serves on another port
# sets HEALTH_URL; one that wants a token gives it to both by FANOUT_TOKEN.
ENV HEALTH_URL=tcp://127.0.0.1:9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD fanout tail "$HEALTH_URL" --limit 0
STOPSIGNAL SIGTERM
ENTRYPOINT ["fanout"]
CMD ["--help"]
