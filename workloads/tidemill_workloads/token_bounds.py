"""How many tokens can a text have at most? Read off a tokenizer's own file, without loading the tokenizer.

A bound is given only for pipelines for which it is proven below; any other tokenizer has none, and its texts are
counted. Used by validation to clear rows that are far from the model's limit without tokenising them.

The proof, for one section of text between two special tokens. A special (added) token that stands in the text covers
at least one byte of it and is one token, so sections and special tokens add up to the bound of the whole.

- Byte-level BPE: the text's UTF-8 bytes become one symbol each, splitting never adds a symbol, and each merge replaces
  two symbols by one: at most one token a byte. `add_prefix_space` adds one byte to a piece of at least one byte: twice.
- BPE over characters with byte fallback (SentencePiece style): a character is one symbol, or its UTF-8 bytes where it
  is not in the vocabulary; the marker that stands for a space and is put before a piece is in the vocabulary, else
  there is no bound. A piece has at least one byte, so the added markers at most double the number.
- WordPiece: a token covers at least one character of the normalised text, or is the unknown token of a whole word.
- Normalisation grows a text: NFC to at most 3 times its UTF-8 bytes (the Unicode Consortium's table of expansion
  factors), lower-casing and NFD to at most 3 characters for each UTF-8 byte of a character outside of ASCII. Neither
  changes the length of ASCII.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SPACE_MARKER = "\u2581"

_SPLITTERS = frozenset({"Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit", "CharDelimiterSplit"})
_BERT_NORMALIZERS = frozenset({"BertNormalizer", "Lowercase", "NFC", "NFD", "StripAccents"})
_GROWTH_OF_NORMALIZATION = 3
_OVERRIDDEN_SPECIALS = 2
"""`add_bos_token` and `add_eos_token` of a tokenizer's config may add one each that its file does not tell."""


class TextSize(NamedTuple):
    """The length of a text in UTF-8 bytes, and whether it is all ASCII."""

    utf8_bytes: int
    ascii: bool

    @classmethod
    def of(cls, text: str) -> TextSize:
        """The size of `text`."""
        if text.isascii():
            return cls(len(text), ascii=True)
        return cls(len(text.encode()), ascii=False)


@dataclass(frozen=True, slots=True)
class TokenBound:
    """Most tokens for each byte of a text that is all ASCII, for each UTF-8 byte of another, and for a text itself."""

    per_ascii: int
    per_byte: int
    extra: int

    def most(self, size: TextSize) -> int:
        """An upper bound of the tokens of a text of that size, special tokens that are added to it included."""
        return size.utf8_bytes * (self.per_ascii if size.ascii else self.per_byte) + self.extra


def bound_of(tokenizer: Mapping[str, Any], config: Mapping[str, Any]) -> TokenBound | None:
    """The bound of a `tokenizer.json` beside its `tokenizer_config.json`; None where none is proven."""
    model = tokenizer.get("model")
    extra = _special_tokens(tokenizer.get("post_processor"))
    if not isinstance(model, dict) or extra is None:
        return None
    normalizers = _steps(tokenizer.get("normalizer"), "normalizers")
    splitters = _steps(tokenizer.get("pre_tokenizer"), "pretokenizers")
    extra += _OVERRIDDEN_SPECIALS
    match model.get("type"):
        case "BPE" if any(step.get("type") == "ByteLevel" for step in splitters):
            prefixed = bool(config.get("add_prefix_space"))
            return _byte_level(normalizers, splitters, prefixed, extra)
        case "BPE" if model.get("byte_fallback") and SPACE_MARKER in model.get("vocab", ()):
            return _with_byte_fallback(normalizers, splitters, extra)
        case "WordPiece" if _kinds(splitters) == {"BertPreTokenizer"} and _kinds(normalizers) <= _BERT_NORMALIZERS:
            return TokenBound(1, _GROWTH_OF_NORMALIZATION, extra)
    return None


def _byte_level(
    normalizers: list[dict[str, Any]], splitters: list[dict[str, Any]], prefixed: bool, extra: int
) -> TokenBound | None:
    if not _kinds(splitters) <= _SPLITTERS | {"ByteLevel"} or not _kinds(normalizers) <= {"NFC"}:
        return None
    prefixed = prefixed or any(step.get("add_prefix_space") for step in splitters)
    with_prefix = 2 if prefixed else 1
    growth = _GROWTH_OF_NORMALIZATION if normalizers else 1
    return TokenBound(with_prefix, with_prefix * growth, extra)


def _with_byte_fallback(
    normalizers: list[dict[str, Any]], splitters: list[dict[str, Any]], extra: int
) -> TokenBound | None:
    if not _kinds(splitters) <= _SPLITTERS | {"Metaspace"}:
        return None
    for step in normalizers:
        match step:
            case {"type": "Prepend", "prepend": prepended} if prepended == SPACE_MARKER:
                continue
            case {"type": "Replace", "pattern": {"String": " "}, "content": content} if content == SPACE_MARKER:
                continue
            case _:
                return None
    return TokenBound(2, 2, extra + 1)  # the marker before a text that is empty


def _steps(stage: Any, within: str) -> list[dict[str, Any]]:
    return list(_flatten(stage, within))


def _flatten(stage: Any, within: str) -> Iterator[dict[str, Any]]:
    """The steps of a stage of the pipeline, which may be one, none or a sequence of them."""
    if not isinstance(stage, dict):
        return
    if stage.get("type") == "Sequence":
        for step in stage.get(within, ()):
            yield from _flatten(step, within)
    else:
        yield stage


def _kinds(steps: list[dict[str, Any]]) -> set[str]:
    return {str(step.get("type")) for step in steps}


def _special_tokens(post_processor: Any) -> int | None:
    """How many special tokens are put about one text; None for a post-processor that is not known."""
    total = 0
    for step in _flatten(post_processor, "processors"):
        match step.get("type"):
            case "ByteLevel":
                continue
            case "BertProcessing" | "RobertaProcessing":
                total += 2
            case "TemplateProcessing":
                pieces = [piece["SpecialToken"]["id"] for piece in step["single"] if "SpecialToken" in piece]
                total += sum(len(step["special_tokens"][piece]["ids"]) for piece in pieces)
            case _:
                return None
    return total
