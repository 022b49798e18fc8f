"""Whether the contents of messages decide anything in a chat template, or are only printed.

Where they are only printed, the text of a conversation is as long as that of any other with the same roles, plus the
contents: no template has to be rendered for each row. Proven from the template's syntax tree, for the templates that
are plain enough to prove it for: a loop over the messages, conditions on roles, and outputs that join constants, roles
and contents, the latter perhaps stripped, which only shortens them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = "content"
_MESSAGES = "messages"
_TOO_CLEVER = (
    nodes.Assign,
    nodes.AssignBlock,
    nodes.Macro,
    nodes.CallBlock,
    nodes.FilterBlock,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Block,
    nodes.Extends,
    nodes.With,
)
"""Statements through which a content could go unseen."""

_SHORTENING = frozenset({"trim", "string"})
_SHORTENING_METHODS = frozenset({"strip", "lstrip", "rstrip"})


def prints_contents_only(tree: nodes.Template) -> bool:
    """Whether the text that a template makes depends on the contents of messages only by holding them."""
    if next(tree.find_all(_TOO_CLEVER), None) is not None:
        return False
    loops = [loop for loop in tree.find_all(nodes.For) if _is_name(loop.iter, {_MESSAGES})]
    variables = {loop.target.name for loop in loops if isinstance(loop.target, nodes.Name)}
    harmless = {id(loop.iter) for loop in loops} | {id(loop.target) for loop in loops}
    harmless |= {id(name) for access in _accesses(tree) for name in _own_names(access, variables)}
    used = [name for name in tree.find_all(nodes.Name) if name.name in variables | {_MESSAGES}]
    if any(id(name) not in harmless for name in used):
        return False
    printed = {id(leaf) for output in tree.find_all(nodes.Output) for child in output.nodes for leaf in _leaves(child)}
    return all(id(access) in printed for access in _accesses(tree) if _key(access) in (CONTENT, None))


def _accesses(tree: nodes.Node) -> Iterator[nodes.Getitem | nodes.Getattr]:
    """Every `value['key']` and `value.key`."""
    return tree.find_all((nodes.Getitem, nodes.Getattr))


def _key(access: nodes.Node) -> str | int | None:
    """The constant key of an access, None where it is not constant."""
    if isinstance(access, nodes.Getattr):
        return access.attr
    if isinstance(access, nodes.Getitem) and isinstance(access.arg, nodes.Const):
        value = access.arg.value
        return value if isinstance(value, str | int) else None
    return None


def _own_names(access: nodes.Getitem | nodes.Getattr, variables: set[str]) -> Iterator[nodes.Node]:
    """The name of a message, or of all, in `message['key']` or `messages[0]['key']`."""
    if not isinstance(_key(access), str):
        return
    value = access.node
    if _is_name(value, variables):
        yield value
    elif isinstance(value, nodes.Getitem) and isinstance(_key(value), int) and _is_name(value.node, {_MESSAGES}):
        yield value.node


def _leaves(expression: nodes.Node) -> Iterator[nodes.Node]:
    """What an output joins, each part stripped of what only shortens it."""
    match expression:
        case nodes.Add() | nodes.Concat():
            for child in expression.iter_child_nodes():
                yield from _leaves(child)
        case nodes.Filter(name=name, args=[], kwargs=[]) if name in _SHORTENING and expression.node is not None:
            yield from _leaves(expression.node)
        case nodes.Call(node=nodes.Getattr(node=value, attr=attr), args=[]) if attr in _SHORTENING_METHODS:
            yield from _leaves(value)
        case _:
            yield expression


def _is_name(node: nodes.Node, names: set[str]) -> bool:
    return isinstance(node, nodes.Name) and node.name in names
