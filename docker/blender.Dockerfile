# Scenes: Blender as a module, in a process of its own. GPL-3.0-or-later, which is why it has an image of its own.
#   docker build -f docker/blender.Dockerfile --build-arg BASE=REGISTRY/spatialpix-base:0.1.0 -t REGISTRY/spatialpix-blender:0.1.0 .
ARG BASE
FROM ${BASE}
USER root
WORKDIR /opt/spatialpix
# The system libraries that Blender's module links to, as `ray_jobs/libraries.py` lists them.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      $(python -c "from ray_jobs.libraries import DEBIAN_PACKAGES as p; print(*sorted(set(p.values())))") \
 && rm -rf /var/lib/apt/lists/* \
 && uv pip install -r pyproject.toml --extra blender
USER ray
WORKDIR /home/ray
