# The state lives in the volume /var/lib/alerting, the rules are mounted at /etc/alerting/rules.yaml.
# docs/deploy.md says how to run it; tests/docs/test_dockerfile.py checks these steps.

FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt requirements.lock README.md LICENSE rules.example.yaml ./
COPY templates templates
COPY deploy deploy
COPY alerting alerting
RUN python -m venv /opt/alerting
RUN /opt/alerting/bin/pip install --quiet --no-cache-dir --require-hashes --requirement requirements.lock
RUN PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    /opt/alerting/bin/pip install --quiet --no-cache-dir --no-deps .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/alerting --create-home alerting \
 && mkdir -p /etc/alerting \
 && chmod 0700 /var/lib/alerting
COPY --from=build /opt/alerting /opt/alerting
COPY scripts/healthcheck /usr/local/bin/alerting-healthcheck
ENV PATH=/opt/alerting/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    ALERTING_CONFIG=/etc/alerting/rules.yaml \
    ALERTING_STATE=/var/lib/alerting/alerting.db
USER 10001:10001
WORKDIR /var/lib/alerting
VOLUME /var/lib/alerting
HEALTHCHECK --interval=1m --timeout=20s --start-period=1m CMD ["alerting-healthcheck"]
ENTRYPOINT ["alerting"]
CMD ["run"]
