# What every node has: Ray, the project, storage. The head runs this one; the roles build on it.
#   docker build -f docker/base.Dockerfile --build-arg COMMIT=$(git rev-parse HEAD) -t REGISTRY/spatialpix-base:0.1.0 .
FROM python:3.11.13-slim-bookworm

# bash, ssh's rsync and procps are what Ray's launcher calls inside; git and a compiler are not needed.
RUN apt-get update \
 && apt-get install -y --no-install-recommends bash procps rsync sudo libgomp1 libgl1 libegl1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 ray && echo 'ray ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ray \
 && pip install --no-cache-dir uv==0.9.5

WORKDIR /opt/spatialpix
COPY pyproject.toml README.md LICENSE ./
COPY LICENSES LICENSES
COPY requirements requirements
# Versions are those of the lock; which packages, the role's extras decide.
ENV UV_SYSTEM_PYTHON=1 UV_NO_CACHE=1 UV_CONSTRAINT=/opt/spatialpix/requirements/cluster.txt \
    RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 HF_HUB_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1
RUN uv pip install -r pyproject.toml
COPY . .
RUN uv pip install --no-deps . && chown -R ray:ray /opt/spatialpix
# Runs say which code made them; there is no repository in here to ask.
ARG COMMIT=
ENV SPATIALPIX_COMMIT=${COMMIT}
USER ray
WORKDIR /home/ray
