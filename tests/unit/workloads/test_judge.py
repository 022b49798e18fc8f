"""The judge of a job leaves nothing behind: the driver that follows it inherits its environment and its memory."""

from __future__ import annotations

import os

from validation_builders import real_model

from tidemill_workloads.urls import CHAT


def test_what_vllm_and_we_set_for_it_is_gone_from_the_environment_afterwards() -> None:
    before = dict(os.environ)
    with real_model("smollm2", max_model_len=64) as rules:
        rules.check(CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}], "top_k": 3})
        assert rules.front_end is not None
        assert os.environ.get("VLLM_NO_USAGE_STATS") == "1"
    assert dict(os.environ) == before


def test_without_a_row_for_vllm_nothing_is_loaded_or_set() -> None:
    before = dict(os.environ)
    with real_model("smollm2", max_model_len=256) as rules:
        rules.check(CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}]})
        assert rules._types is rules._front_end is None
        assert dict(os.environ) == before


def test_a_number_written_as_text_is_judged_like_the_first_time_whenever_it_comes() -> None:
    with real_model("smollm2", max_model_len=256) as rules:
        for cap in ("100", "100", "100"):
            rules.check(CHAT, {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": cap})
