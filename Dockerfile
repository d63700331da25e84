# A Debian with caddysnake in the virtual environment /venv, and the applications' packages beside it.
#
#   docker build --tag caddysnake .
#   docker run --publish 8080:8080 --volume ./app:/app caddysnake

FROM debian:trixie-slim AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc git libc6-dev python3-dev python3-venv
RUN python3 -m venv /venv
WORKDIR /src
COPY . .
RUN /venv/bin/pip install --no-cache-dir .

FROM debian:trixie-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates media-types python3-venv \
    && rm -r /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home caddysnake \
    && install --directory --owner=caddysnake --group=caddysnake /app /config /data
COPY --from=build --chown=caddysnake:caddysnake /venv /venv
COPY packaging/docker/Caddyfile /etc/caddy/Caddyfile
COPY packaging/docker/healthcheck.py /usr/local/bin/healthcheck
ENV PATH=/venv/bin:$PATH VIRTUAL_ENV=/venv
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
ENV HEALTH_URL=http://127.0.0.1:8080/
WORKDIR /app
USER caddysnake
VOLUME /config /data
EXPOSE 80 443 443/udp 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["healthcheck"]
ENTRYPOINT ["caddysnake"]
CMD ["run", "--config", "/etc/caddy/Caddyfile"]
