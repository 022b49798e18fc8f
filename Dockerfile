# Images of Tidemill:
#   docker build --target operator -t tidemill-operator:0.1.0 .
#   docker build --target workloads --build-arg ENGINE=gpu -t tidemill-workloads:0.1.0 .
#   docker build --target workloads --build-arg ENGINE=cpu --build-arg TORCH_INDEX=URL -t tidemill-workloads:0.1.0-cpu .
# TORCH_INDEX: an index of pip's that has torch's +cpu build (hack/setup.sh names the public one); leave it out where
# your own index has it. PIP_* arguments are handed on to pip and stay out of the final images.

# Debian 12: its bash hands PID 1, and so SIGTERM, on to `ray start`, which drains a worker that has to go.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm

# The package as a wheel, the same for both images.
FROM ${BASE_IMAGE} AS wheel
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
ENV PYTHONSAFEPATH=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --uid 1000 --create-home build && mkdir /src /dist && chown build /src /dist
USER 1000:1000
WORKDIR /src
COPY --chown=1000:1000 pyproject.toml README.md LICENSE ./
COPY --chown=1000:1000 operator operator
COPY --chown=1000:1000 workloads workloads
RUN pip wheel --no-deps --wheel-dir /dist .

# The operator's virtual environment, made apart so that pip's settings stay behind.
FROM wheel AS operator-environment
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
USER root
RUN mkdir /opt/tidemill && chown 1000 /opt/tidemill
USER 1000:1000
COPY --chown=1000:1000 hack/constraints.txt /src/constraints.txt
RUN python -m venv /opt/tidemill \
 && /opt/tidemill/bin/pip install --constraint /src/constraints.txt "$(echo /dist/tidemill-*.whl)[operator]" \
 && /opt/tidemill/bin/pip uninstall --yes pip setuptools

FROM ${BASE_IMAGE} AS operator
LABEL org.opencontainers.image.title="tidemill-operator" \
      org.opencontainers.image.description="Runs BatchInferenceJobs on Ray clusters that KubeRay keeps" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=operator-environment /opt/tidemill /opt/tidemill
# LOGNAME: Kopf asks for the user's name at its start, and a user id alone has none.
ENV PATH=/opt/tidemill/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOGNAME=tidemill
USER 65532:65532
WORKDIR /
EXPOSE 8081
# For container engines; Kubernetes asks /healthz by the chart's probes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('TIDEMILL_HEALTH_PORT', '8081') + '/healthz', timeout=4)"]
ENTRYPOINT ["tidemill-operator"]

# The environment of head and workers: Ray, the engine, and our package.
FROM wheel AS workloads-environment
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
ARG PIP_TRUSTED_HOST
ARG ENGINE=gpu
ARG TORCH_INDEX
USER root
RUN mkdir /opt/tidemill && chown 1000 /opt/tidemill
USER 1000:1000
COPY --chown=1000:1000 hack/constraints.txt /src/constraints.txt
# The constraints are those of the CPU engine, the one that is tested everywhere. For it torch must be the +cpu build,
# and torchvision and its kin go, since their wheels are CUDA builds that break the import of text models there.
RUN python -m venv /opt/tidemill \
 && package="$(echo /dist/tidemill-*.whl)[workloads,engine-${ENGINE}]" \
 && case "${ENGINE}" in \
      cpu) /opt/tidemill/bin/pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} \
             --constraint /src/constraints.txt 'torch==2.13.0+cpu' "$package" \
        && /opt/tidemill/bin/pip uninstall --yes torchvision torchaudio torchcodec ;; \
      gpu) /opt/tidemill/bin/pip install "$package" ;; \
      *) echo "ENGINE must be cpu or gpu, not '${ENGINE}'" >&2; exit 1 ;; \
    esac

FROM ${BASE_IMAGE} AS workloads
ARG ENGINE=gpu
LABEL org.opencontainers.image.title="tidemill-workloads" \
      org.opencontainers.image.description="What runs inside Ray: batch driver, row engine and vLLM (${ENGINE})" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# libnuma: vLLM's CPU kernels. gcc: on a GPU, Triton compiles its launchers when the engine starts.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends libnuma1 $([ "${ENGINE}" = gpu ] && echo gcc libc6-dev) \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 1000 --create-home tidemill
COPY --from=workloads-environment /opt/tidemill /opt/tidemill
ENV PATH=/opt/tidemill/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
USER 1000:1000
WORKDIR /home/tidemill
# KubeRay gives each pod its own command (`ray start ...`); alone, the image says what it is.
CMD ["python", "-c", "import ray, vllm; print('ray', ray.__version__, 'vllm', vllm.__version__)"]
