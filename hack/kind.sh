#!/usr/bin/env bash
# Tidemill in a real Kubernetes of this machine: kind, KubeRay, both images, the demo job and the end-to-end tests.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state=$root/.tidemill/kind
cluster=tidemill
# Kubernetes 1.35 as kind 0.33 made it.
node_image=kindest/node:v1.35.8@sha256:07b2536e30b803ed61d1677a79df6115f798ce64c80f9e22f6ed45afd09323c0
pod_addresses=10.244.0.0/16
service_addresses=10.96.0.0/16
kuberay_version=1.7.0
kuberay_charts=https://ray-project.github.io/kuberay-helm/
shared=${TIDEMILL_E2E_FOLDER:-$state/shared}
export KUBECONFIG=${KUBECONFIG_UNDER_TEST:-$state/kubeconfig}

usage() {
  cat <<'TEXT'
Usage: ./hack/kind.sh [up] [demo] [test] [down]

Runs Tidemill in kind, a Kubernetes cluster inside Docker. Without a word it does up, demo and test, and leaves the
cluster to be looked at.
  up     builds the images (operator, and workloads for the CPU), makes a cluster of one node named `tidemill`, loads
         the images into it, and installs KubeRay 1.7.0 from its own charts
  demo   installs the chart, tests it, runs hack/examples/tickets-job.yaml, shows answers, and uninstalls the chart again
  test   runs tests/e2e there, which install the chart by themselves; sets routes to the addresses of pods (with sudo)
  down   deletes the cluster
Needs: docker, kind 0.33 or newer, 4 cores, 16 GB of memory, 30 GB of disk, and the network (images of kind and KubeRay).
With KUBECONFIG_UNDER_TEST set, demo and test run on that cluster instead, with the images that TIDEMILL_OPERATOR_IMAGE
and TIDEMILL_WORKLOADS_IMAGE name; its nodes must see the two folders below, and it needs KubeRay.
kubectl and helm come from ./hack/setup.sh, as do the model and the tests. Your own kubeconfig is not touched; to look around:
  export KUBECONFIG=.tidemill/kind/kubeconfig
The node sees two folders of this machine under their own paths, since jobs of the demo and of the tests read and write
files there: .tidemill/models, and $TIDEMILL_E2E_FOLDER (default: .tidemill/kind/shared).
hack/images.sh says which variables lead the build to an index or to a base image of your own.

This script was written where no image of a kind node can be had: `up`, `down` and `test` have NOT been run there. What `up`
builds was built, and its demo was run on the dev cluster. The workflow in .github/workflows runs all of it.
TEXT
}

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'kind: %s\n' "$*" >&2; exit 1; }

version() { sed -n 's/^version = "\(.*\)"$/\1/p' "$root/pyproject.toml"; }
operator_image() { printf '%s' "${TIDEMILL_OPERATOR_IMAGE:-tidemill-operator:$(version)}"; }
workloads_image() { printf '%s' "${TIDEMILL_WORKLOADS_IMAGE:-tidemill-workloads:$(version)-cpu}"; }

# Says what the cluster looks like where a step fails: a CI's log is all that is left of it.
tell_state() {
  local status=$?
  [ "$status" -ne 0 ] && [ -f "$KUBECONFIG" ] || return "$status"
  kubectl get batchinferencejobs,realtimeendpoints,rayclusters,pods --all-namespaces --output wide || true
  kubectl get events --all-namespaces --sort-by=.lastTimestamp | tail -n 40 || true
  local space pod
  kubectl get pods --all-namespaces --selector app.kubernetes.io/component=operator --no-headers |
    while read -r space pod _; do kubectl logs --namespace "$space" "$pod" --tail=60 --prefix; done || true
  return "$status"
} >&2

cluster_config() {
  cat <<YAML
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
networking: {podSubnet: $pod_addresses, serviceSubnet: $service_addresses}
nodes:
  - role: control-plane
    image: $node_image
    extraMounts:
      - {hostPath: "$shared", containerPath: "$shared"}
      - {hostPath: "$root/.tidemill/models", containerPath: "$root/.tidemill/models", readOnly: true}
YAML
}

up() {
  say "images"
  (cd "$root" && ./hack/images.sh operator workloads-cpu)
  if kind get clusters 2>/dev/null | grep --quiet --line-regexp "$cluster"; then
    say "the cluster $cluster is there already"
    kind export kubeconfig --name "$cluster"
  else
    say "a cluster of one node"
    mkdir -p "$shared"
    cluster_config | kind create cluster --name "$cluster" --wait 180s --config -
  fi
  say "images into the node (about 4 GB, some minutes)"
  kind load docker-image --name "$cluster" "$(operator_image)" "$(workloads_image)"
  say "KubeRay $kuberay_version"
  helm upgrade --install kuberay-operator kuberay-operator --repo "$kuberay_charts" --version "$kuberay_version" \
    --namespace kuberay-system --create-namespace --wait --timeout 5m
}

# A claim of the demo's on a folder of this machine, through the node.
claim() { # NAME FOLDER ACCESS_MODE
  cat <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: demo-$1}
spec:
  capacity: {storage: 1Gi}
  accessModes: [$3]
  storageClassName: ""
  claimRef: {namespace: demo, name: $1}
  hostPath: {path: "$2", type: Directory}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $1, namespace: demo}
spec:
  accessModes: [$3]
  storageClassName: ""
  volumeName: demo-$1
  resources: {requests: {storage: 1Gi}}
---
YAML
}

# What the chart is told about CRDs. Those that the cluster has from another hand stay as they are; those of the demo's own
# release, also of one that failed half-way, are still that release's: without them helm would take them away, and all jobs.
crds_of_demo() {
  local owner mark='{.metadata.annotations.meta\.helm\.sh/release-namespace}/{.metadata.annotations.meta\.helm\.sh/release-name}'
  owner=$(kubectl get crd batchinferencejobs.tidemill.dev --ignore-not-found --output "jsonpath=$mark") || return
  case "$owner" in
    "" | tidemill-system/tidemill) printf crds.keep=false ;;
    *) printf crds.install=false ;;
  esac
}

demo() {
  local files=$shared/demo
  say "the chart, and the demo's files"
  local crds image
  crds=$(crds_of_demo)
  image=$(operator_image)
  helm upgrade --install tidemill "$root/charts/tidemill" --namespace tidemill-system --create-namespace \
    --set "image.repository=${image%:*}" --set "image.tag=${image##*:}" --set "settings.imageCpu=$(workloads_image)" \
    --set "$crds" --wait --timeout 5m
  helm test tidemill --namespace tidemill-system --timeout 5m
  mkdir -p "$files/input" "$files/output"
  chmod 777 "$files/output"   # a pod's user is another than this one, and fsGroup does not reach a folder of the node
  cp "$root/hack/examples/tickets.jsonl" "$files/input/"
  kubectl create namespace demo --dry-run=client --output yaml | kubectl apply --filename -
  { claim input "$files/input" ReadOnlyMany; claim output "$files/output" ReadWriteOnce
    claim models "$root/.tidemill/models" ReadOnlyMany; } | kubectl apply --filename -
  say "the job: 216 tickets on one worker"
  # One core for the worker: Kubernetes itself takes one of a small machine's four.
  kubectl patch --local --filename "$root/hack/examples/tickets-job.yaml" --type merge --output yaml \
    --patch '{"metadata": {"namespace": "demo"}, "spec": {"resources": {"cpu": "1"}}}' | kubectl apply --filename -
  kubectl wait --namespace demo --for=condition=Finished bij/tickets --timeout=20m
  kubectl get --namespace demo bij/tickets
  kubectl wait --namespace demo --for=condition=Succeeded bij/tickets --timeout=1s
  head --lines=3 "$files/output/tickets/results.jsonl"
  say "uninstall"
  kubectl delete namespace demo --wait --timeout=3m
  kubectl delete persistentvolume demo-input demo-output demo-models
  helm uninstall tidemill --namespace tidemill-system --wait --timeout 5m
  kubectl delete priorityclass tidemill-realtime tidemill-batch   # kept by helm, as is the pod of its test
  kubectl delete pod tidemill-check --namespace tidemill-system
}

# The tests ask pods and Services by their addresses, which the node knows.
routes_to_pods() {
  local node as_root=(sudo)
  [ "$(id -u)" != 0 ] || as_root=()
  node=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$cluster-control-plane")
  "${as_root[@]}" ip route replace "$pod_addresses" via "$node"
  "${as_root[@]}" ip route replace "$service_addresses" via "$node"
}

run_tests() {
  say "tests/e2e"
  [ -n "${KUBECONFIG_UNDER_TEST:-}" ] || routes_to_pods
  kubectl apply --server-side --filename "$root/crds"
  mkdir -p "$shared"
  # Pods have another user than this one, and write into folders that the tests make.
  (umask 000 && TIDEMILL_E2E_FOLDER=$shared KUBECONFIG_UNDER_TEST=$KUBECONFIG TIDEMILL_OPERATOR_IMAGE=$(operator_image) \
    TIDEMILL_WORKLOADS_IMAGE=$(workloads_image) "$root/hack/test.sh" tests/e2e)
}

steps=()
for word in "$@"; do
  case "$word" in
    up | demo | test | down) steps+=("$word") ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[ ${#steps[@]} -gt 0 ] || steps=(up demo test)

if [ -z "${KUBECONFIG_UNDER_TEST:-}" ]; then
  command -v docker >/dev/null || fail "docker is needed"
  command -v kind >/dev/null || fail "kind is needed: https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
elif [[ " ${steps[*]} " =~ " up "|" down " ]]; then
  fail "up and down are about kind: without KUBECONFIG_UNDER_TEST, or demo and test alone"
fi
mkdir -p "$state"
[ "${steps[*]}" = down ] || "$root/hack/setup.sh"
export PATH=$root/.tidemill/bin:$PATH
trap tell_state EXIT
for step in "${steps[@]}"; do
  case "$step" in
    up) up ;;
    demo) demo ;;
    test) run_tests ;;
    down) kind delete cluster --name "$cluster" ;;
  esac
done
