# Images of Tidemill; needs BuildKit (Docker >= 20.10). hack/images.sh builds them with all of their labels.
#   docker build --target operator -t tidemill-operator:0.1.0 .
#   docker build --target workloads --build-arg ENGINE=gpu -t tidemill-workloads:0.1.0 .
#   docker build --target workloads --build-arg ENGINE=cpu --build-arg TORCH_INDEX=URL -t tidemill-workloads:0.1.0-cpu .
# TORCH_INDEX: an index of pip's that has torch's +cpu build (hack/setup.sh names the public one); leave it out where
# your own index has it. An index of your own, with its password, is a secret, so that no layer and no history has it:
#   --secret id=pip.conf,src=$HOME/.config/pip/pip.conf

# By tag for people, by digest for the machine: the tag moves with each rebuild of Debian's packages. Renew both together.
# Debian 12: its bash hands PID 1, and so SIGTERM, on to `ray start`, which drains a worker that has to go.
ARG BASE_IMAGE=python:3.11.14-slim-bookworm@sha256:65a93d69fa75478d554f4ad27c85c1e69fa184956261b4301ebaf6dbb0a3543d

# The package as a wheel, the same for both images. Its builder comes by digest, and pip fetches no other.
FROM ${BASE_IMAGE} AS wheel
ENV PYTHONSAFEPATH=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --uid 1000 --create-home build \
 && mkdir /src /dist /opt/build /opt/tidemill \
 && chown build /src /dist /opt/build /opt/tidemill
USER 1000:1000
WORKDIR /src
COPY --chown=1000:1000 hack/locks/build.txt hack/locks/build.txt
COPY --chown=1000:1000 hack/bytecode.py hack/bytecode.py
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --requirement hack/locks/build.txt
COPY --chown=1000:1000 pyproject.toml README.md LICENSE ./
COPY --chown=1000:1000 operator operator
COPY --chown=1000:1000 workloads workloads
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /dist .

# The operator's virtual environment: every package by digest, without pip, and the same bytes and times each time.
# Unchecked byte code: a read-only root file system could not renew it, and times of files need not be kept.
FROM wheel AS operator-environment
COPY --chown=1000:1000 hack/locks/operator.txt hack/locks/operator.txt
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    python -m venv --without-pip /opt/tidemill \
 && pip() { /opt/build/bin/pip --python /opt/tidemill/bin/python "$@"; } \
 && pip install --no-compile --require-hashes --requirement hack/locks/operator.txt \
 && pip install --no-compile --no-deps --no-index /dist/tidemill-*.whl \
 && PYTHONHASHSEED=0 /opt/tidemill/bin/python hack/bytecode.py /opt/tidemill/lib \
 && find /opt/tidemill -exec touch --no-dereference --date=2020-02-02T00:00:00Z {} +

# What both images stand on: Python alone. No pip, which could only bring in what nobody looked at, and no program that
# turns its user into another.
FROM ${BASE_IMAGE} AS runtime
RUN python -c 'import importlib.util, shutil; [shutil.rmtree(folder) \
      for spec in map(importlib.util.find_spec, ("pip", "setuptools", "pkg_resources", "wheel", "ensurepip")) if spec \
      for folder in spec.submodule_search_locations]' \
 && rm -f /usr/local/bin/pip* /usr/local/bin/wheel /usr/bin/pip* \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
ENV PATH=/opt/tidemill/bin:$PATH PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532

FROM runtime AS operator
COPY --from=operator-environment --chown=0:0 /opt/tidemill /opt/tidemill
# Owned by root: who runs it cannot change it. LOGNAME: Kopf asks for the user's name at its start, and a user id alone has none.
ENV LOGNAME=tidemill
USER 65532:65532
WORKDIR /
EXPOSE 8081
# For container engines; Kubernetes asks /healthz by the chart's probes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('TIDEMILL_HEALTH_PORT', '8081') + '/healthz', timeout=4)"]
ENTRYPOINT ["tidemill-operator"]
ARG REVISION
ARG SOURCE
ARG CREATED
LABEL org.opencontainers.image.title="tidemill-operator" \
      org.opencontainers.image.description="Runs BatchInferenceJobs and RealtimeEndpoints on Ray clusters that KubeRay keeps" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"

# The environment of head and workers: Ray, the engine, and our package.
FROM wheel AS workloads-environment
ARG ENGINE=gpu
ARG TORCH_INDEX
COPY --chown=1000:1000 hack/constraints.txt hack/locks/workloads-gpu.txt hack/locks/
# For the CPU torch must be the +cpu build, the one package that its index is asked for, and torchvision and its kin go, since their wheels are CUDA builds that
# break the import of text models there. By version, not by digest: half of these packages exist for one engine only.
# The linter takes our own wheel for a package without a version.
# hadolint ignore=DL3013
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf,mode=0444 \
    python -m venv --without-pip /opt/tidemill \
 && pip() { /opt/build/bin/pip --python /opt/tidemill/bin/python "$@"; } \
 && package="$(echo /dist/tidemill-*.whl)[workloads,engine-${ENGINE}]" \
 && case "${ENGINE}" in \
      cpu) pip install --no-compile --no-deps ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} 'torch==2.13.0+cpu' \
        && pip install --no-compile --constraint hack/locks/constraints.txt "$package" \
        && pip uninstall --yes torchvision torchaudio torchcodec ;; \
      gpu) pip install --no-compile --constraint hack/locks/workloads-gpu.txt "$package" ;; \
      *) echo "ENGINE must be cpu or gpu, not '${ENGINE}'" >&2; exit 1 ;; \
    esac \
 && PYTHONHASHSEED=0 /opt/tidemill/bin/python hack/bytecode.py /opt/tidemill/lib \
 && find /opt/tidemill -exec touch --no-dereference --date=2020-02-02T00:00:00Z {} +

FROM runtime AS workloads
ARG ENGINE=gpu
# hadolint ignore=DL3066
USER root
# libnuma: vLLM's CPU kernels. gcc: on a GPU, Triton compiles its launchers when the engine starts.
# The newest of Debian 12, which changes for security alone: a version named here would soon not be served any more.
# hadolint ignore=DL3008
RUN apt-get update \
 && if [ "${ENGINE}" = gpu ]; then set -- gcc libc6-dev; fi \
 && apt-get install --yes --no-install-recommends libnuma1 "$@" \
 && useradd --uid 1000 --create-home --no-log-init tidemill \
 && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=workloads-environment --chown=0:0 /opt/tidemill /opt/tidemill
# Where device plugins that bring no container runtime of NVIDIA's, as Google's, mount the node's driver; elsewhere, and on
# CPUs, there is no such folder. A job's template may not set this variable: it says which code is loaded.
ENV RAY_USAGE_STATS_ENABLED=0 LD_LIBRARY_PATH=/usr/local/nvidia/lib64
USER 1000:1000
WORKDIR /home/tidemill
# For container engines that run `ray start`; KubeRay gives each pod probes of its own, and its command too.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:52365/api/local_raylet_healthz', timeout=4)"]
# Alone, the image says what it is.
CMD ["python", "-c", "import ray, vllm; print('ray', ray.__version__, 'vllm', vllm.__version__)"]
ARG REVISION
ARG SOURCE
ARG CREATED
LABEL org.opencontainers.image.title="tidemill-workloads" \
      org.opencontainers.image.description="What runs inside Ray: batch driver, row engine, Serve application and vLLM (${ENGINE})" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.created="${CREATED}"
