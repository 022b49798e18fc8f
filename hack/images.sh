#!/usr/bin/env bash
# Builds the images with all of their labels, from this checkout.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

usage() {
  cat <<'TEXT'
Usage: [VARIABLE=VALUE ...] ./hack/images.sh [operator] [workloads-cpu] [workloads-gpu] [-- docker build's options]

Builds these images (without a name: operator and workloads-cpu) and prints their names, one a line:
  $REGISTRY/tidemill-operator:$TAG   $REGISTRY/tidemill-workloads:$TAG-cpu   $REGISTRY/tidemill-workloads:$TAG
  REGISTRY         such as registry.example.com/ml; empty: names without one
  TAG              default: the version in pyproject.toml
  SOURCE           where the sources can be found, for the label org.opencontainers.image.source
  BASE_IMAGE       another base with Python 3.11 or 3.12, such as your own mirror of the pinned one
  TORCH_INDEX      pip's index with torch's +cpu build; default: the public one; empty: your own index has it
  PIP_CONFIG_FILE  pip's settings for the build (an index of your own, its password): a secret that no layer holds
The times in the images are the commit's: built again from the same commit, an image holds the same files.
Example: REGISTRY=registry.example.com/ml ./hack/images.sh operator workloads-gpu -- --push
TEXT
}

chosen=()
while [ $# -gt 0 ]; do
  case "$1" in
    operator | workloads-cpu | workloads-gpu) chosen+=("$1") ;;
    -h | --help) usage; exit 0 ;;
    --) shift; break ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
[ ${#chosen[@]} -gt 0 ] || chosen=(operator workloads-cpu)

cd "$root"
tag=${TAG:-$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)}
revision=$(git rev-parse HEAD)
git diff --quiet HEAD -- Dockerfile pyproject.toml operator workloads hack/locks hack/constraints.txt || revision+=-changed
committed=$(git log -1 --format=%ct)
export DOCKER_BUILDKIT=1
options=(
  --build-arg "REVISION=$revision"
  --build-arg "SOURCE=${SOURCE:-}"
  --build-arg "CREATED=$(date --utc --date="@$committed" +%Y-%m-%dT%H:%M:%SZ)"
  --build-arg "SOURCE_DATE_EPOCH=$committed"   # for BuildKit: the times in the image's own record
  ${BASE_IMAGE:+--build-arg "BASE_IMAGE=$BASE_IMAGE"}
  ${PIP_CONFIG_FILE:+--secret "id=pip.conf,src=$PIP_CONFIG_FILE"}
  "$@"
)
torch_index=${TORCH_INDEX-$(grep --only-matching --max-count=1 'https://[a-z.]*/whl/cpu' hack/setup.sh)}

build() { # NAME, then docker build's options
  local name=${REGISTRY:+$REGISTRY/}$1
  shift
  docker build --tag "$name" "${options[@]}" "$@" . >&2
  printf '%s\n' "$name"
}

for image in "${chosen[@]}"; do
  case "$image" in
    operator) build "tidemill-operator:$tag" --target operator ;;
    workloads-cpu)
      build "tidemill-workloads:$tag-cpu" --target workloads --build-arg ENGINE=cpu --build-arg "TORCH_INDEX=$torch_index" ;;
    workloads-gpu) build "tidemill-workloads:$tag" --target workloads --build-arg ENGINE=gpu ;;
  esac
done
