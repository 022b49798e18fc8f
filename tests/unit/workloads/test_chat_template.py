"""The size of a templated conversation: never below what transformers renders, for templates of many kinds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template
from validation_builders import model_folder

from tidemill_workloads.chat_template import compile_template

SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}

CHATML = (model_folder("smollm2") / "chat_template.jinja").read_text()
TRIMMED = (
    "{{ bos_token }}{% for message in messages %}[{{ message.role }}]{{ message['content'] | trim }}{{ eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}[ümlaut]{% endif %}"
)
TWICE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] + '/' + m['content'].strip() }}\n{% endfor %}"
DECIDING = (
    "{% for message in messages %}{% if 'x' in message['content'] %}{{ 'very long words ' * 9 }}{% endif %}"
    "{{ message['content'] }}{% endfor %}"
)
ESCAPING = "{% for message in messages %}{{ message | tojson }}{% endfor %}"
ASSIGNING = (
    "{% set system = messages[0]['content'] %}{% for message in messages %}{{ system }}{{ message['content'] }}"
    "{% endfor %}"
)
IN_PARTS = (
    "{% for message in messages %}{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}<part>{{ part['text'] }}</part>{% endfor %}{% endif %}{% endfor %}"
)
ALTERNATING = (
    "{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}{{ message['content'] }}{% endfor %}"
)
NEIGHBOURS = (
    "{% for m in messages %}{{ m.content }}{% if loop.previtem %}{{ loop.previtem.content }}{% endif %}{% endfor %}"
)
MARKED = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"
TEMPLATES = [CHATML, TRIMMED, TWICE, DECIDING, ESCAPING, ASSIGNING, IN_PARTS, ALTERNATING, NEIGHBOURS, MARKED]

texts = st.text(min_size=1, max_size=30) | st.sampled_from(["hi x", " padded ", "\\\"'\n", "日本語", "<|im_end|>"])
conversations = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": texts}),
    min_size=1,
    max_size=5,
)


def rendered(template: str, messages: list[dict[str, Any]]) -> str | None:
    try:
        texts, _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True, **SPECIALS)
    except Exception:  # a template may fail in any way; what counts is that the other side sees it fail too
        return None
    return str(texts[0])


@pytest.mark.parametrize("template", TEMPLATES)
@given(messages=conversations)
@settings(max_examples=150, deadline=None)
def test_no_conversation_is_longer_than_its_size(template: str, messages: list[dict[str, Any]]) -> None:
    compiled = compile_template(template, SPECIALS)
    assert compiled is not None
    size = compiled.size(messages)
    text = rendered(template, messages)
    if text is None or size is None:
        assert size is text is None
        return
    assert len(text.encode()) <= size.utf8_bytes
    assert text.isascii() or not size.ascii


@pytest.mark.parametrize(
    ("template", "prints"),
    [
        (CHATML, True),
        (TRIMMED, True),
        (TWICE, True),
        (ALTERNATING, True),
        (DECIDING, False),
        (ESCAPING, False),
        (ASSIGNING, False),
        (IN_PARTS, False),
        (NEIGHBOURS, True),
        ("{% for m in messages %}{{ m[key] }}{% endfor %}", False),
        ("{% for m in messages %}{{ m.content | upper }}{% endfor %}", False),
        ("{{ messages | length }}", False),
    ],
)
def test_only_a_template_that_prints_contents_and_nothing_more_is_measured_by_roles(
    template: str, prints: bool
) -> None:
    compiled = compile_template(template, SPECIALS)
    assert compiled is not None
    assert compiled.prints_only is prints


def test_the_longer_of_the_two_forms_counts() -> None:
    compiled = compile_template(IN_PARTS, SPECIALS)
    assert compiled is not None
    size = compiled.size([{"role": "user", "content": "hi"}])
    assert size is not None
    assert size.utf8_bytes == len("<part>hi</part>")


def test_a_template_with_todays_date_has_room_for_another_day() -> None:
    compiled = compile_template(
        "{{ strftime_now('%d %B') }}{% for m in messages %}{{ m.content }}{% endfor %}", SPECIALS
    )
    assert compiled is not None
    size = compiled.size([{"role": "user", "content": "hi"}])
    assert size is not None
    assert size.utf8_bytes >= len("30 September") + 2


@pytest.mark.parametrize("template", ["{% for %}", "{{ odd_token }}"])
def test_what_does_not_compile_or_names_an_unknown_token_is_no_template(template: str) -> None:
    assert compile_template(template, SPECIALS) is None
