"""Label and field selectors, as tables."""

import pytest

from devcluster.apiserver.built_in_resources import built_in_resources
from devcluster.apiserver.errors import StatusError
from devcluster.apiserver.selectors import predicate

RESOURCES = {f"{resource.group}/{resource.plural}": resource for resource in built_in_resources()}
PODS = RESOURCES["/pods"]


def matches(label_selector="", field_selector="", resource=PODS, **document):
    test = predicate(resource, label_selector, field_selector)
    return test is None or test(document)


@pytest.mark.parametrize(
    ("selector", "labels", "expected"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a=", {"a": ""}, True),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b, c)", {"a": "c"}, True),
        ("a in (b,c),d", {"a": "c"}, False),
        ("a in (b,c),d", {"a": "c", "d": "x"}, True),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a notin (b)", {}, True),
        ("a", {"a": "1"}, True),
        ("!a", {"a": "1"}, False),
        ("!a", {}, True),
        ("n>3", {"n": "4"}, True),
        ("n<3", {"n": "4"}, False),
        ("n>3", {"n": "x"}, False),
        ("tidemill.dev/job=x,ray.io/group=y", {"tidemill.dev/job": "x", "ray.io/group": "y"}, True),
    ],
)
def test_a_label_selector(selector, labels, expected):
    assert matches(selector, metadata={"labels": labels}) is expected


@pytest.mark.parametrize("selector", ["a in b", "a=b=c", "(a)", "n>x", "a in (b"])
def test_a_label_selector_that_is_none_is_refused(selector):
    with pytest.raises(StatusError) as refused:
        matches(selector)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("metadata.name=p", True),
        ("metadata.name!=p", False),
        ("metadata.name=p,metadata.namespace=n", True),
        ("spec.nodeName=", True),
        ("spec.nodeName=node-a", False),
        ("status.phase=Running", True),
        ("status.phase!=Succeeded,status.phase!=Failed", True),
    ],
)
def test_a_field_selector(selector, expected):
    document = {"metadata": {"name": "p", "namespace": "n"}, "spec": {}, "status": {"phase": "Running"}}
    assert matches("", selector, **document) is expected


def test_events_are_selected_by_what_they_are_about():
    about = {
        "involvedObject": {"kind": "Pod", "name": "p", "uid": "u"},
        "type": "Warning",
        "source": {"component": "k"},
    }
    events = RESOURCES["/events"]
    assert matches("", "involvedObject.name=p,involvedObject.kind=Pod,type=Warning", events, **about)
    assert not matches("", "involvedObject.uid=v", events, **about)
    assert matches("", "source=k", events, **about)
    assert matches("", "regarding.name=p", RESOURCES["events.k8s.io/events"], **about)


def test_a_field_that_is_not_selectable_is_named():
    with pytest.raises(StatusError, match=r"field label not supported: spec\.image"):
        matches("", "spec.image=x")
