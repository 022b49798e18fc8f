#!/usr/bin/env bash
# A Docker engine and a base image for the tests, in .tidemill/docker, for machines without an engine or a registry.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=$root/.tidemill/docker
release=bookworm   # its Python is 3.11, as in the image that the Dockerfile names

usage() {
  cat <<'TEXT'
Usage: ./hack/docker_engine.sh

Puts Debian's Docker engine into .tidemill/docker/files, unpacked and not installed, so that no service is started and
no network is set up, and a base image made by debootstrap into .tidemill/docker/base.tar. Needs root and Debian's apt;
takes a minute the first time and a moment after that. Only the tests of the images use it (./hack/test.sh --all).
TEXT
}

fail() { printf 'docker_engine: %s\n' "$*" >&2; exit 1; }

download_engine() {
  [ -x "$state/files/usr/sbin/dockerd" ] && return
  local scratch archive
  scratch=$(mktemp -d "$state/download.XXXX")
  mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial"
  local ours=(-qq -o "Dir::State::Lists=$scratch/lists" -o "Dir::Cache=$scratch/cache"
    -o APT::Sandbox::User=root -o Debug::NoLocking=1)
  (cd "$scratch" && apt-get "${ours[@]}" update &&
    apt-get "${ours[@]}" download docker.io containerd runc debootstrap libdevmapper1.02.1 libseccomp2)
  for archive in "$scratch"/*.deb; do
    dpkg-deb --extract "$archive" "$scratch/files"
  done
  rm -rf "$state/files"
  mv "$scratch/files" "$state/files"
  rm -rf "$scratch"
}

# The image that the Dockerfile names has Python as `python`, with venv, and pip; so has this one.
make_base() {
  [ -f "$state/base.tar" ] && return
  local scratch mirror certificates=/etc/ssl/certs/ca-certificates.crt
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\?//p' | cut -d' ' -f1 | grep '/debian/\?$' | sed -n 1p || true)
  [ -n "$mirror" ] || fail "no mirror of Debian's is named in /etc/apt"
  scratch=$(mktemp -d "$state/base.XXXX")
  DEBOOTSTRAP_DIR=$state/files/usr/share/debootstrap "$state/files/usr/sbin/debootstrap" --variant=minbase \
    --include=python3,python3-venv,python3-pip,python-is-python3,ca-certificates "$release" "$scratch/root" "$mirror" >&2
  # A machine may trust authorities of its own, which its mirrors need.
  [ ! -f "$certificates" ] || cp "$certificates" "$scratch/root$certificates"
  rm -rf "$scratch"/root/var/cache/apt/* "$scratch"/root/var/lib/apt/lists/* "$scratch"/root/var/log/*
  tar --create --one-file-system --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' \
    --directory "$scratch/root" --file "$scratch/base.tar" .
  mv "$scratch/base.tar" "$state/base.tar"
  rm -rf "$scratch"
}

case "${1:-}" in
  "") ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac

[ "$(id -u)" = 0 ] || fail "needs root: it makes a root file system, and the engine makes containers"
command -v dpkg-deb >/dev/null || fail "needs Debian (dpkg-deb and apt-get)"
[ "$(uname -m)" = x86_64 ] || fail "needs x86-64, as Tidemill's engine does"
mkdir -p "$state"
exec 9>"$state/lock"
flock 9
download_engine
make_base
