# Prometheus from Debian's package, for the profile `metrics` of compose.yaml where the upstream image cannot be pulled:
#   docker build -f deploy/prometheus.Dockerfile -t hwm-prometheus deploy
#   HWM_PROMETHEUS_IMAGE=hwm-prometheus docker-compose -f deploy/compose.yaml --profile metrics up -d
ARG BASE=debian:bookworm-slim
FROM ${BASE}
RUN apt-get update -q && apt-get install -q -y --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/* \
    && install -d -o prometheus -g prometheus /prometheus
USER prometheus
ENTRYPOINT ["/usr/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
