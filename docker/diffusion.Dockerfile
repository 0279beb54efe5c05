# Prompt-to-Prompt, photos, CLIP, and training: torch for CUDA.
#   docker build -f docker/diffusion.Dockerfile --build-arg BASE=REGISTRY/spatialpix-base:0.1.0 -t REGISTRY/spatialpix-diffusion:0.1.0 .
ARG BASE
FROM ${BASE}
USER root
WORKDIR /opt/spatialpix
RUN uv pip install -r pyproject.toml --extra train --extra photos --extra publish --extra track
USER ray
WORKDIR /home/ray
