"""NetworkPolicies for tests: by hand, and any at all over a small world in which most things meet."""

from hypothesis import strategies as st


def policy(name="policy", namespace="team", **spec):
    """A NetworkPolicy as the API has it; it selects every pod of its namespace unless told otherwise."""
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}"}
    return {"metadata": metadata, "spec": {"podSelector": {}, **spec}}


_labels = st.dictionaries(st.sampled_from(["role", "tier"]), st.sampled_from(["db", "frontend", "worker", "gpu"]))
_expressions = st.builds(
    lambda operator, values: {"key": "role", "operator": operator, **({"values": values} if values else {})},
    st.sampled_from(["In", "NotIn"]),
    st.lists(st.sampled_from(["db", "frontend"]), min_size=1),
)
_selectors = st.builds(
    lambda labels, expressions: {"matchLabels": labels, "matchExpressions": expressions},
    _labels,
    st.lists(_expressions, max_size=1),
)
_blocks = st.fixed_dictionaries({"cidr": st.sampled_from(["10.77.1.0/29", "0.0.0.0/0"])}, optional={
    "except": st.lists(st.sampled_from(["10.77.1.4/31", "10.77.1.2/32", "10.77.1.0/24"]), max_size=2)
})  # fmt: skip
_peers = st.one_of(
    st.fixed_dictionaries({}, optional={"podSelector": _selectors, "namespaceSelector": st.just({})}),
    st.fixed_dictionaries({"ipBlock": _blocks}),
)
_ports = st.one_of(
    st.fixed_dictionaries({"port": st.sampled_from([53, 6379, "http", "dns"])}),
    st.fixed_dictionaries({"protocol": st.sampled_from(["UDP", "TCP", "SCTP"])}),
    st.just({"port": 1, "endPort": 6379}),
)


def _rules(key):
    return st.fixed_dictionaries(
        {}, optional={key: st.lists(_peers, max_size=2), "ports": st.lists(_ports, max_size=2)}
    )


any_policy = st.builds(
    lambda name, namespace, spec: policy(name, namespace, **spec),
    st.text("abc", min_size=1, max_size=3),
    st.sampled_from(["team", "other"]),
    st.fixed_dictionaries(
        {"podSelector": _selectors},
        optional={
            "ingress": st.lists(_rules("from"), max_size=2),
            "egress": st.lists(_rules("to"), max_size=2),
            "policyTypes": st.lists(st.sampled_from(["Ingress", "Egress"]), min_size=1, max_size=2),
        },
    ),
)
