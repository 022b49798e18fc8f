"""What a served resource is: names, scope, verbs, subresources and its schema.

Data only; the built-in ones are listed in `built_in_resources`, custom ones are made in `custom_resources`.
"""

from dataclasses import dataclass, field

from devcluster.apiserver.errors import Subject
from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.store import Key

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Column:
    """A printer column of a custom resource; `priority` above 0 shows with `-o wide` only."""

    name: str
    type: str
    json_path: str
    priority: int = 0
    format: str = ""
    description: str = ""


@dataclass(frozen=True)
class ScalePaths:
    """The JSON paths of a scale subresource, without the leading dot; `selector` may be empty."""

    spec_replicas: tuple[str, ...]
    status_replicas: tuple[str, ...]
    selector: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Resource:
    """One resource of one group and version.

    `storage` names where its objects live, so that two versions can share them; `storage_version` is the
    apiVersion they are kept in. `schema` is the OpenAPI schema of the whole object, None where it has none.
    `status`: whether there is a status subresource. `custom` tells a CustomResourceDefinition's from a built-in.
    """

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    storage: str
    storage_version: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    status: bool = False
    scale: ScalePaths | None = None
    subresources: tuple[str, ...] = ()
    schema: JsonObject | None = None
    schema_name: str = ""
    columns: tuple[Column, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    custom: bool = False
    list_kind: str = field(default="")

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind_name(self) -> str:
        """The kind of a list of these."""
        return self.list_kind or f"{self.kind}List"

    def subject(self, name: str = "") -> Subject:
        """Return what an error about an object of this resource names."""
        return Subject(self.group, self.plural, self.kind, name)

    def key(self, namespace: str, name: str) -> Key:
        """Return where an object of this resource lives."""
        return Key(self.storage, namespace if self.namespaced else "", name)
