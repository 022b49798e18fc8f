"""The text that a model's chat template makes of messages, for a bound of its length; never for the engine.

Renders as transformers does (`_compile_jinja_template` of 5.x: the same sandbox, filters and functions), which is what
vLLM's renderer calls. vLLM hands a template the content of a message as a string or, where the template walks over it,
as a list of parts: here both are rendered where both are possible, and the longer text counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import jinja2
import jinja2.ext
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tidemill_workloads.template_shapes import prints_contents_only
from tidemill_workloads.token_bounds import TextSize

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATE_SLACK = 32
"""Bytes by which a text with a date in it may differ when it is rendered another day."""

_LOOP = re.compile(r"{%-?\s*for\b")
_LOOP_OVER_MESSAGES = re.compile(r"{%-?\s*for\s+\w+\s+in\s+(loop_)?messages\b")
_TOKEN_NAME = re.compile(r"\w+_token")


MAX_SHAPES = 10_000
"""Remembered sequences of roles; a file with more of them has its rows rendered."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a sequence of roles adds to its contents, and how often the content of each message is printed."""

    overhead: TextSize
    printed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A compiled template with the special tokens of its tokenizer.

    `prints_only` says that the contents of messages decide nothing in it: then one rendering tells the size of every
    conversation with the same roles. Else each conversation is rendered.
    """

    compiled: jinja2.Template
    special_tokens: Mapping[str, str]
    prints_only: bool
    both_forms: bool
    dated: bool
    shapes: dict[tuple[str, ...], _Shape | None] = field(default_factory=dict)

    def size(self, messages: Sequence[Mapping[str, str]]) -> TextSize | None:
        """A bound of the text of `messages`, each a role and a text.

        None where the template refuses them or fails: vLLM then says why.
        """
        if not self.prints_only:
            text = self._longest(messages)
            return TextSize.of(text) if text is not None else None
        roles = tuple(message["role"] for message in messages)
        if roles not in self.shapes and len(self.shapes) < MAX_SHAPES:
            self.shapes[roles] = self._shape(roles)
        shape = self.shapes[roles] if roles in self.shapes else self._shape(roles)
        if shape is None:
            return None
        total, ascii_only = shape.overhead
        for times, message in zip(shape.printed, messages, strict=True):
            length, is_ascii = TextSize.of(message["content"])
            total += times * length
            ascii_only = ascii_only and is_ascii
        return TextSize(total, ascii_only)

    def _shape(self, roles: tuple[str, ...]) -> _Shape | None:
        marks = [f"<content-{number:08d}>" for number in range(len(roles))]
        text = self._longest([{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)])
        if text is None:
            return None
        printed = tuple(text.count(mark) for mark in marks)
        size, is_ascii = TextSize.of(text)
        return _Shape(TextSize(size - sum(printed) * len(marks[0]), is_ascii), printed)

    def _longest(self, messages: Sequence[Mapping[str, str]]) -> str | None:
        """The longer text of the two forms that messages may have with a template.

        A template that cannot take parts does not walk over them, so vLLM gives it strings.
        """
        text = self._render(messages)
        if text is None:
            return None
        if self.both_forms:
            in_parts = [
                {"role": item["role"], "content": [{"type": "text", "text": item["content"]}]} for item in messages
            ]
            text = max(text, self._render(in_parts) or "", key=_utf8_length)
        return text + " " * DATE_SLACK if self.dated else text

    def _render(self, messages: Sequence[Mapping[str, Any]]) -> str | None:
        try:
            return self.compiled.render(
                messages=messages, tools=None, documents=None, add_generation_prompt=True, **self.special_tokens
            )
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
            return None  # whatever a template's code may stumble on


def compile_template(source: str, special_tokens: Mapping[str, str]) -> ChatTemplate | None:
    """The template, or None for one that does not compile or that names a special token whose text is not known."""
    environment = _environment()
    try:
        tree = environment.parse(source)
        names = jinja2.meta.find_undeclared_variables(tree)
        compiled = environment.from_string(source)
    except jinja2.TemplateError:
        return None
    if any(_TOKEN_NAME.fullmatch(name) and name not in special_tokens for name in names):
        return None
    loops = len(_LOOP.findall(source))
    walks_content = loops > 1 or not _LOOP_OVER_MESSAGES.search(source)
    return ChatTemplate(
        compiled,
        dict(special_tokens),
        prints_only=prints_contents_only(tree),
        both_forms=walks_content,
        dated="strftime_now" in source,
    )


def _environment() -> jinja2.Environment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlocks, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    return environment


class _GenerationBlocks(jinja2.ext.Extension):
    """`{% generation %}`, which marks an assistant's words for training and renders what is in it."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _to_json(value: Any, **options: Any) -> str:
    options.setdefault("ensure_ascii", False)
    return json.dumps(value, **options)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().astimezone().strftime(form)


def _utf8_length(text: str) -> int:
    return len(text.encode())
