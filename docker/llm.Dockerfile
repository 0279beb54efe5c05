# Instructions: vLLM for CUDA, which brings its own torch.
#   docker build -f docker/llm.Dockerfile --build-arg BASE=REGISTRY/spatialpix-base:0.1.0 -t REGISTRY/spatialpix-llm:0.1.0 .
ARG BASE
FROM ${BASE}
USER root
WORKDIR /opt/spatialpix
RUN uv pip install -r pyproject.toml --extra train --extra llm-gpu
USER ray
WORKDIR /home/ray
