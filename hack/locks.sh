#!/usr/bin/env bash
# Writes hack/locks/: which packages, in which versions, the images are made of.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/.tidemill/venv/bin

usage() {
  cat <<'TEXT'
Usage: ./hack/locks.sh

Resolves pyproject.toml within hack/constraints.txt anew and writes
  hack/locks/build.txt           what makes the wheel, with the digest of every file
  hack/locks/operator.txt        what the operator's image holds, with the digest of every file
  hack/locks/workloads-gpu.txt   versions of what the GPU image holds (the CPU image takes hack/constraints.txt)
Run it after a change of pyproject.toml's dependencies or of the constraints, and commit what it wrote.
TEXT
}

case "${1:-}" in
  "") ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

cd "$root"
lock() { # OUTPUT, then what uv is asked for
  local output=hack/locks/$1
  shift
  "$bin/uv" pip compile --quiet --no-emit-index-url --no-annotate --custom-compile-command ./hack/locks.sh \
    --python-version 3.11 --output-file "$output" "$@" >/dev/null
}

requires=$(mktemp)
trap 'rm -f "$requires"' EXIT
"$bin/python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' >"$requires"
lock build.txt --constraints hack/constraints.txt --universal --generate-hashes "$requires"
lock operator.txt --constraints hack/constraints.txt --universal --generate-hashes --extra operator pyproject.toml
# The GPU engine pins some packages otherwise: what stands in the output already is preferred, not demanded.
cp hack/constraints.txt hack/locks/workloads-gpu.txt
lock workloads-gpu.txt --python-platform x86_64-manylinux_2_28 --extra workloads --extra engine-gpu pyproject.toml
