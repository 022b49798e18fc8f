"""The proven bounds of tokens, held against real tokenizers and against pipelines made of their parts."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers
from validation_builders import model_folder

from tidemill_workloads.token_bounds import SPACE_MARKER, TextSize, TokenBound, bound_of

SPECIALS = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "[CLS]", "[SEP]", "[UNK]", "[PAD]", "<s>", "</s>"]
GROWING = [
    "\u0958",
    "\ufb2c",
    "\U0001d160",
    "\u0390",
    "\u1f82",
    "\u0130",
    "\u023a",
    "\ufdfa",
    "\uac01",
    "\u4e00",
    "\u0301",
]
texts = st.lists(
    st.text(max_size=20)
    | st.sampled_from(SPECIALS)
    | st.sampled_from(GROWING)
    | st.sampled_from([" ", "  ", "\n", "\t", "a", "the cat", "0123", "\u2028", "x" * 130]),
    max_size=12,
).map("".join)


@cache
def real(name: str) -> tuple[Tokenizer, TokenBound]:
    folder = model_folder(name)
    described = json.loads((folder / "tokenizer.json").read_text())
    bound = bound_of(described, json.loads((folder / "tokenizer_config.json").read_text()))
    assert bound is not None
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, bound


@pytest.mark.parametrize("name", ["smollm2", "minilm"])
@given(text=texts)
@settings(max_examples=400, deadline=None)
def test_no_text_has_more_tokens_than_its_bound_in_a_real_tokenizer(name: str, text: str) -> None:
    tokenizer, bound = real(name)
    assert len(tokenizer.encode(text).ids) <= bound.most(TextSize.of(text))


@pytest.mark.parametrize("name", ["smollm2", "minilm"])
def test_no_single_character_has_more_tokens_than_its_bound(name: str) -> None:
    tokenizer, bound = real(name)
    characters = [chr(point) for point in range(0x30000) if not 0xD800 <= point < 0xE000]
    encoded = tokenizer.encode_batch(characters)
    for character, encoding in zip(characters, encoded, strict=True):
        assert len(encoding.ids) <= bound.most(TextSize.of(character)), hex(ord(character))


@cache
def made(kind: str) -> tuple[Tokenizer, TokenBound]:
    """A tokenizer with hardly any merge, so that it makes as many tokens as its kind can."""
    marks = [AddedToken(mark, special=True) for mark in SPECIALS] + [AddedToken("a", normalized=True)]
    if kind.startswith("byte-level"):
        vocabulary = {piece: number for number, piece in enumerate(pre_tokenizers.ByteLevel.alphabet())}
        tokenizer = Tokenizer(models.BPE(vocabulary, []))
        prefixed = kind == "byte-level with a prefix"
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=prefixed)]
        )
        if kind == "byte-level after NFC":
            tokenizer.normalizer = normalizers.NFC()
    else:
        pieces = ["<unk>", SPACE_MARKER, *(f"<0x{byte:02X}>" for byte in range(256)), *"bcdefg"]
        vocabulary = {piece: number for number, piece in enumerate(pieces)}
        tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend(SPACE_MARKER), normalizers.Replace(" ", SPACE_MARKER)]
        )
        if kind == "byte fallback with Metaspace":
            tokenizer.normalizer = None
            tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE_MARKER, "always")
    tokenizer.add_tokens(marks)
    bound = bound_of(json.loads(tokenizer.to_str()), {})
    assert bound is not None
    return tokenizer, bound


KINDS = [
    "byte-level",
    "byte-level after NFC",
    "byte-level with a prefix",
    "byte fallback",
    "byte fallback with Metaspace",
]


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_no_text_has_more_tokens_than_the_bound_of_its_kind_of_tokenizer(kind: str, text: str) -> None:
    tokenizer, bound = made(kind)
    assert len(tokenizer.encode(text).ids) <= bound.most(TextSize.of(text))


def described(model: dict[str, Any], **stages: Any) -> dict[str, Any]:
    return {"model": model, "normalizer": None, "pre_tokenizer": None, "post_processor": None} | stages


@pytest.mark.parametrize(
    "tokenizer",
    [
        {},
        described({"type": "Unigram"}),
        described({"type": "BPE", "byte_fallback": True, "vocab": {}}),
        described({"type": "BPE"}, pre_tokenizer={"type": "ByteLevel"}, normalizer={"type": "NFKC"}),
        described({"type": "BPE"}, pre_tokenizer={"type": "ByteLevel"}, post_processor={"type": "Novel"}),
        described({"type": "WordPiece"}, pre_tokenizer={"type": "Whitespace"}),
    ],
)
def test_a_tokenizer_of_another_kind_has_no_bound(tokenizer: dict[str, Any]) -> None:
    assert bound_of(tokenizer, {}) is None


def test_special_tokens_about_a_text_are_counted() -> None:
    template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
        "special_tokens": {"<s>": {"ids": [1, 2, 3]}},
    }
    bound = bound_of(described({"type": "BPE"}, pre_tokenizer={"type": "ByteLevel"}, post_processor=template), {})
    assert bound == TokenBound(per_ascii=1, per_byte=1, extra=5)
