"""A Kubernetes cluster on one machine, for developing and testing Tidemill without Docker or a GPU.

Four programs that only ever meet over the API server's HTTP: `devcluster.apiserver` keeps objects,
`devcluster.kubelet` schedules pods and runs them as processes in network namespaces, `devcluster.services`
leads the addresses of Services to them and runs the controllers of Deployments and Jobs (`devcluster.workloads`), and
`devcluster.kuberay` turns a `RayCluster` into pods. `devcluster.supervisor` starts and stops the four.

It is a development tool: it authenticates nobody, pulls no image and isolates little. Production code
never imports it, and nothing in Tidemill behaves differently because of it.
"""
