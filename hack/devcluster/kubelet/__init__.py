"""The dev cluster's scheduler and kubelet: a Pod bound to one of its nodes becomes real processes on this machine.

It only speaks HTTP to an API server. One process plays every declared node. What a container image would
bring is not there: commands run from the checkout and see the host's file system read-only (see `root`). A container
without a command runs what an image of this project would (see `images`), as that image's user.
It is a development tool for Linux, run as root; nothing here isolates one tenant from another.

Where it differs from a real one, on purpose: `securityContext` is honoured as far as `security` says; CPU and
memory limits decide where a Pod may go and are not enforced; declared GPUs are counted, and only real ones are
handed out (`devices`); NetworkPolicies are enforced where nft(8) is there (`policy_enforcement` says what differs);
`terminationMessagePath` is not read (the policy `FallbackToLogsOnError` is honoured);
`activeDeadlineSeconds`, readiness gates, `kubectl exec` and NoExecute evictions are not offered.

From pure to I/O: `nodes`, `scheduling`, `images`, `security`, `environment`, `hosts`, `status`, `probes` (tally),
`network_policies`, then `network`, `packet_filter`, `volumes`, `sandbox`, `process`, `containers`, `pods`,
`policy_enforcement`, and `service`, which ties them to the API server.
"""
