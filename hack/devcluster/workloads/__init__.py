"""The dev cluster's controllers of workloads: Deployments, ReplicaSets and Jobs become pods, budgets know their pods.

A small kube-controller-manager. It runs inside the program `devcluster.services`, speaks HTTP to any API server and
knows nothing of how pods are run. After k8s.io/kubernetes/pkg/controller; decisions are pure functions of what is
stored and of the time.

From pure to I/O: `objects`, `pods`, `replica_sets`, `rolling`, `deployments`, `deployment_status`, `jobs`, `budgets` |
`view` (caches and own writes), `steps` (what to do, and the doing), `controller`.
Not offered: StatefulSets, DaemonSets, CronJobs, autoscalers; of Jobs, indexed completion, pod failure policies, success
policies and `managedBy`: such Jobs are left alone, with an event that says so.
"""
