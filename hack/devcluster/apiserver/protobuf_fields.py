"""The field numbers of the messages that clients send as protobuf.

kubectl's generators (`kubectl create secret ...`), helm's release storage and Go programs write built-in kinds as
protobuf, without asking. The numbers are part of the Kubernetes API (`protobuf` tags of k8s.io/api); what a field is
(text, number, message, list or map) is taken from its published schema.

A row lists a message's fields from number 1 on: `-` is a number not in use, `?` marks a field whose zero value means
something (a pointer in Go). Messages and fields that no such client writes are left out; meeting one is an error that
asks for JSON.
"""

_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
_CORE = "io.k8s.api.core.v1."
_RBAC = "io.k8s.api.rbac.v1."
_AUTHENTICATION = "io.k8s.api.authentication.v1."
_AUTHORIZATION = "io.k8s.api.authorization.v1."
_BUDGET = "io.k8s.api.policy.v1.PodDisruptionBudget"

_ROWS = {
    _META + "ObjectMeta": "name generateName namespace selfLink uid resourceVersion generation creationTimestamp "
    "deletionTimestamp deletionGracePeriodSeconds? labels annotations ownerReferences finalizers",
    _META + "OwnerReference": "kind - name uid apiVersion controller? blockOwnerDeletion?",
    _META + "LabelSelector": "matchLabels matchExpressions",
    _META + "LabelSelectorRequirement": "key operator values",
    _META + "DeleteOptions": "gracePeriodSeconds? preconditions orphanDependents? propagationPolicy dryRun",
    _META + "Preconditions": "uid resourceVersion",
    _CORE + "Namespace": "metadata spec status",
    _CORE + "NamespaceSpec": "finalizers",
    _CORE + "NamespaceStatus": "phase",
    _CORE + "ConfigMap": "metadata data binaryData immutable?",
    _CORE + "Secret": "metadata data type stringData immutable?",
    _CORE + "ServiceAccount": "metadata secrets imagePullSecrets automountServiceAccountToken?",
    _CORE + "LocalObjectReference": "name",
    _CORE + "ObjectReference": "kind namespace name uid apiVersion resourceVersion fieldPath",
    _CORE + "Service": "metadata spec status",
    _CORE + "ServiceSpec": "ports selector clusterIP type externalIPs - sessionAffinity loadBalancerIP "
    "loadBalancerSourceRanges externalName externalTrafficPolicy healthCheckNodePort publishNotReadyAddresses",
    _CORE + "ServicePort": "name protocol port targetPort nodePort appProtocol",
    _CORE + "ServiceStatus": "loadBalancer",
    _CORE + "LoadBalancerStatus": "ingress",
    _CORE + "ResourceQuota": "metadata spec status",
    _CORE + "ResourceQuotaSpec": "hard scopes",
    _CORE + "ResourceQuotaStatus": "hard used",
    _CORE + "Event": "metadata involvedObject reason message source firstTimestamp lastTimestamp count type eventTime "
    "series action related reportingComponent reportingInstance",
    _CORE + "EventSource": "component host",
    _CORE + "EventSeries": "count lastObservedTime",
    _CORE + "Binding": "metadata target",
    _CORE + "PodTemplateSpec": "metadata spec",
    _CORE
    + "PodSpec": "volumes containers restartPolicy terminationGracePeriodSeconds? activeDeadlineSeconds? dnsPolicy "
    "nodeSelector serviceAccountName serviceAccount nodeName hostNetwork hostPID hostIPC - imagePullSecrets hostname "
    "subdomain - schedulerName",
    _CORE + "Container": "name image command args workingDir ports env resources",
    _CORE + "ContainerPort": "name hostPort containerPort protocol hostIP",
    _CORE + "EnvVar": "name value",
    _CORE + "ResourceRequirements": "limits requests",
    "io.k8s.api.apps.v1.Deployment": "metadata spec status",
    "io.k8s.api.apps.v1.DeploymentSpec": "replicas? selector template strategy minReadySeconds revisionHistoryLimit? "
    "paused - progressDeadlineSeconds?",
    "io.k8s.api.apps.v1.DeploymentStrategy": "type",
    "io.k8s.api.apps.v1.DeploymentStatus": "observedGeneration replicas",
    "io.k8s.api.batch.v1.Job": "metadata spec status",
    "io.k8s.api.batch.v1.JobSpec": "parallelism? completions? activeDeadlineSeconds? selector manualSelector? template "
    "backoffLimit? ttlSecondsAfterFinished? completionMode suspend?",
    "io.k8s.api.batch.v1.CronJob": "metadata spec status",
    "io.k8s.api.batch.v1.CronJobSpec": "schedule startingDeadlineSeconds? concurrencyPolicy suspend? jobTemplate "
    "successfulJobsHistoryLimit? failedJobsHistoryLimit? timeZone",
    "io.k8s.api.batch.v1.JobTemplateSpec": "metadata spec",
    _RBAC + "Role": "metadata rules",
    _RBAC + "ClusterRole": "metadata rules aggregationRule",
    _RBAC + "AggregationRule": "clusterRoleSelectors",
    _RBAC + "PolicyRule": "verbs apiGroups resources resourceNames nonResourceURLs",
    _RBAC + "RoleBinding": "metadata subjects roleRef",
    _RBAC + "ClusterRoleBinding": "metadata subjects roleRef",
    _RBAC + "RoleRef": "apiGroup kind name",
    _RBAC + "Subject": "kind apiGroup name namespace",
    "io.k8s.api.coordination.v1.Lease": "metadata spec",
    "io.k8s.api.coordination.v1.LeaseSpec": "holderIdentity? leaseDurationSeconds? acquireTime renewTime "
    "leaseTransitions?",
    "io.k8s.api.policy.v1.Eviction": "metadata deleteOptions",
    _BUDGET: "metadata spec status",
    _BUDGET + "Spec": "minAvailable? selector maxUnavailable?",
    _BUDGET + "Status": "observedGeneration",
    "io.k8s.api.scheduling.v1.PriorityClass": "metadata value globalDefault description preemptionPolicy",
    _AUTHENTICATION + "SelfSubjectReview": "metadata status",
    _AUTHENTICATION + "TokenRequest": "metadata spec status",
    _AUTHENTICATION + "TokenRequestSpec": "audiences - boundObjectRef expirationSeconds?",
    _AUTHENTICATION + "BoundObjectReference": "kind apiVersion name uid",
    _AUTHENTICATION + "TokenReview": "metadata spec status",
    _AUTHENTICATION + "TokenReviewSpec": "token audiences",
    _AUTHORIZATION + "SelfSubjectRulesReview": "metadata spec status",
    _AUTHORIZATION + "SelfSubjectRulesReviewSpec": "namespace",
    _AUTHORIZATION + "SubjectAccessReview": "metadata spec status",
    _AUTHORIZATION + "LocalSubjectAccessReview": "metadata spec status",
    _AUTHORIZATION + "SubjectAccessReviewSpec": "resourceAttributes nonResourceAttributes user groups - uid",
    _AUTHORIZATION + "SelfSubjectAccessReview": "metadata spec status",
    _AUTHORIZATION + "SelfSubjectAccessReviewSpec": "resourceAttributes nonResourceAttributes",
    _AUTHORIZATION + "ResourceAttributes": "namespace verb group version resource subresource name",
    _AUTHORIZATION + "NonResourceAttributes": "path verb",
    _AUTHORIZATION + "SubjectAccessReviewStatus": "allowed reason evaluationError denied",
}


def fields_of(message: str) -> dict[int, tuple[str, bool]] | None:
    """Return a message's fields by number: the name, and whether a zero is kept. None for an unknown message."""
    row = _ROWS.get(message)
    if row is None:
        return None
    numbered = enumerate(row.split(), start=1)
    return {number: (name.rstrip("?"), name.endswith("?")) for number, name in numbered if name != "-"}
