# Build:  docker build -t fanout .
# Run:    docker run --rm -p 127.0.0.1:9000:9000 fanout --assets BTCUSDT,ETHUSDT tcp --host 0.0.0.0
#
# Journal: docker run ... -v fanout:/var/lib/fanout fanout ... tcp ... journal --dir /var/lib/fanout
#
# examples/deploy/compose.yaml runs it with a consumer, Prometheus and Grafana.
#
# A container has 64 MiB of /dev/shm by default, and queues in shared memory take their capacity
# from it: raise it with --shm-size=256m. A client outside this container needs --ipc=host, or
# --ipc=shareable here and --ipc=container:NAME there.

FROM python:3.13-slim AS build
WORKDIR /src
# The compiler is for the hot functions. Without it fanout runs in plain Python.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
RUN python -m venv /opt/fanout
# The exact dependencies of this release and of its bridge to NATS, pinned with their hashes.
COPY .ci/requirements.lock ./
RUN /opt/fanout/bin/pip install --no-cache-dir --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY protocol protocol
COPY clients clients
COPY fanout fanout
RUN /opt/fanout/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13-slim
COPY --from=build /opt/fanout /opt/fanout
# /var/lib/fanout is for `journal --dir`: a volume there takes its owner from here.
RUN useradd --system --uid 10001 --no-create-home fanout \
    && install --directory --owner=fanout /var/lib/fanout
USER fanout
ENV PATH=/opt/fanout/bin:$PATH PYTHONUNBUFFERED=1
EXPOSE 9000 9464
# The health check connects as a client does, and succeeds once the service serves it. Set HEALTH_URL
# if the service listens on another port. FANOUT_TOKEN reaches both the service and the health check.
ENV HEALTH_URL=tcp://127.0.0.1:9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD fanout tail "$HEALTH_URL" --limit 0
STOPSIGNAL SIGTERM
ENTRYPOINT ["fanout"]
CMD ["--help"]
