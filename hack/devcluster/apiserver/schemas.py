"""The compiled schema of each served resource."""

import functools

from devcluster.apiserver import openapi_definitions
from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.schema import ANY, Compiler, Node, with_implied


@functools.lru_cache(maxsize=1024)
def node_of(resource: Resource) -> Node:
    """Return the node of a resource's objects; `ANY` for a built-in kind that has no definition.

    Raises `re.error` or `ValueError` for a custom resource whose schema cannot be compiled.
    """
    if resource.custom:
        return custom_node(resource.schema)
    if resource.schema_name not in openapi_definitions.definitions():
        return ANY
    return openapi_definitions.compiled(resource.schema_name)


def custom_node(schema: JsonObject | None) -> Node:
    """Return the node of a custom resource's schema, with the members that every object has."""
    if schema is None:
        return ANY
    implied = {
        "apiVersion": Node(type="string"),
        "kind": Node(type="string"),
        "metadata": openapi_definitions.compiled(openapi_definitions.OBJECT_META),
    }
    node = Compiler(implied=implied).compile(schema)
    node.properties = with_implied(node.properties, implied)
    return node
