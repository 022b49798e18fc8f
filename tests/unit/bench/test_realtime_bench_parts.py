"""The realtime benches' own arithmetic: who arrives when, what answers come to, which side a ratio favours."""

import itertools
import json
import random
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "hack" / "bench"


@pytest.fixture(autouse=True)
def bench_path(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


def answer(number=0, *, due=0.0, first=0.1, last=1.1, tokens=11):
    from load import Answer

    return Answer(number, due, due, due + first, due + last, due + last, tokens)


def traffic(**options):
    from traffic import Traffic

    prompts = (
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "tide"}]}),
        ("/v1/completions", {"prompt": "mill", "max_tokens": 7}),
    )
    return Traffic("small", prompts, **options)


def test_the_same_seed_gives_both_sides_the_same_requests_at_the_same_times():
    assert traffic().poisson(5.0, 20.0, seed=3) == traffic().poisson(5.0, 20.0, seed=3)
    assert traffic().poisson(5.0, 20.0, seed=3) != traffic().poisson(5.0, 20.0, seed=4)


def test_arrivals_are_a_poisson_process_of_the_rate_asked_for():
    times = [request.at for request in traffic().poisson(50.0, 100.0, seed=1)]
    assert len(times) == pytest.approx(5000, rel=0.05)
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    assert gaps[len(gaps) // 2] == pytest.approx(0.693 / 50, rel=0.1)  # the median of an exponential law is ln 2 / rate
    assert times == sorted(times)
    assert times[-1] < 100.0


def test_a_load_too_light_for_its_seconds_has_one_request():
    assert [request.at for request in traffic().poisson(0.001, 1.0, seed=1)] == [0.0]


def test_answers_differ_in_length_within_bounds_and_about_a_median():
    from traffic import LONGEST, MEDIAN_TOKENS, SHORTEST, answer_tokens

    drawn = random.Random(1)
    lengths = sorted(answer_tokens(drawn) for _ in range(2000))
    assert (lengths[0], lengths[-1]) == (SHORTEST, LONGEST)
    assert lengths[1000] == pytest.approx(MEDIAN_TOKENS, rel=0.1)


def test_another_label_changes_the_prompt_and_not_the_length():
    one, other = (traffic().requests(4, 1, label) for label in ("a", "b"))
    assert [request.body["max_tokens"] for request in one] == [request.body["max_tokens"] for request in other]
    assert one[0].body["messages"] != other[0].body["messages"]
    assert len({json.dumps(request.body) for request in (*one, *other)}) == 8


def test_a_natural_answer_ends_where_the_model_ends_it_or_at_the_prompts_own_limit():
    chat, completion = (request.body for request in traffic(natural=True).requests(2, 1))
    assert "ignore_eos" not in chat
    assert completion["max_tokens"] == 7
    assert all(request.body["ignore_eos"] for request in traffic().requests(2, 1))


def test_prompts_are_batch_lines_bodies_or_text_and_lose_what_forms_the_answer(tmp_path):
    from traffic import read_prompts

    body = {"messages": [{"role": "user", "content": "x"}], "structured_outputs": {"choice": ["a"]}, "n": 3}
    file = tmp_path / "prompts"
    file.write_text("\n".join([json.dumps({"body": body}), json.dumps({"prompt": "y"}), "", "plain words"]))
    assert read_prompts(file) == (
        ("/v1/chat/completions", {"messages": body["messages"]}),
        ("/v1/completions", {"prompt": "y"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "plain words"}]}),
    )


@pytest.mark.parametrize(("line", "said"), [("{", "not JSON"), ('{"input": "x"}', "neither"), ("", "no prompts")])
def test_a_line_that_is_no_prompt_is_named(tmp_path, line, said):
    from traffic import read_prompts

    file = tmp_path / "prompts"
    file.write_text(line)
    with pytest.raises(SystemExit, match=said):
        read_prompts(file)


def test_a_late_client_counts_against_the_server():
    from load import Answer

    late = Answer(0, due=1.0, sent=1.5, first=2.0, last=3.0, end=3.0, tokens=3)
    assert late.first_token_seconds == 1.0
    assert late.token_seconds == 0.5
    assert answer(tokens=1).token_seconds is None


def test_a_failed_request_ends_the_benchmark():
    from load import read_answer

    line = {"number": 4, "due": 0, "sent": 0, "first": None, "last": None, "end": 1, "tokens": 0}
    with pytest.raises(SystemExit, match="request 4 failed: 429"):
        read_answer(line | {"error": "429"})
    assert read_answer(line | {"error": "", "tokens": 2}).first == 1


def test_the_first_token_is_the_first_text_and_tokens_are_counted_by_the_server():
    from load_client import take

    found = {"first": None, "last": None, "tokens": 0, "error": ""}
    take(found, {"choices": [{"delta": {"role": "assistant", "content": ""}}]}, 1.0)
    assert found["first"] is None
    take(found, {"choices": [{"delta": {"content": "a"}}]}, 2.0)
    take(found, {"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]}, 3.0)
    take(found, {"choices": [{"delta": {}, "finish_reason": "stop"}]}, 4.0)
    take(found, {"choices": [], "usage": {"completion_tokens": 5}}, 5.0)
    assert found == {"first": 2.0, "last": 3.0, "tokens": 5, "error": ""}
    take(found, {"error": {"message": "gone"}}, 6.0)
    assert "gone" in found["error"]


def test_percentiles_are_of_all_rounds_and_throughput_is_tokens_by_the_rounds_own_seconds():
    from load_figures import Figures

    rounds = [[answer(0, first=0.1), answer(1, first=0.2)], [answer(0, due=500.0, first=0.3)]]
    figures = Figures.of(*rounds)
    assert (figures.requests, figures.tokens) == (3, 33)
    assert figures.seconds == pytest.approx(2.2)
    assert figures.throughput == pytest.approx(15)
    assert (figures.first_p50, figures.first_p99) == (pytest.approx(0.2), pytest.approx(0.3))


def test_a_percentile_is_a_value_that_was_measured():
    from load_figures import percentile

    hundred = list(range(1, 101))
    assert [percentile(hundred, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_an_answer_of_a_static_batch_comes_when_the_longest_of_its_batch_is_done():
    from load_figures import released_by_batch

    load = [answer(number, last=seconds) for number, seconds in enumerate((1.0, 3.0, 2.0, 1.0, 0.5))]
    assert [released.end for released in released_by_batch(load, 2)] == [3.0, 3.0, 2.0, 2.0, 0.5]


def measured(*, ours=0.1, theirs=0.1, our_rate=1.0):
    from realtime_report import Measured, Run

    def run(first, rate):
        answers = [answer(number, first=first, last=1.0 / rate) for number in range(4)]
        return Run(answers, {"vLLM's engine": 0.4, "ingress": 0.04})

    runs = {(share, "bare"): [run(theirs, 1.0)] for share in (0.5, 2.0)}
    runs |= {(share, "endpoint"): [run(ours, our_rate)] for share in (0.5, 2.0)}
    return Measured(run(0.1, 1.0), 4.0, {"bare": {}, "endpoint": {"ingress": 0.01}}, runs)


def test_the_goals_are_judged_by_the_endpoints_figure_over_the_bare_servers():
    from realtime_report import Outcome

    assert Outcome.of(measured(ours=0.109)).holds
    assert not Outcome.of(measured(ours=0.111)).holds
    assert Outcome.of(measured(our_rate=0.951)).holds
    slower = Outcome.of(measured(our_rate=0.949))
    assert not slower.holds
    assert slower.throughput_ratio == pytest.approx(0.949)


def test_the_report_has_both_sides_their_ratio_and_where_the_cpu_goes():
    from realtime_report import report

    text = report(measured(ours=0.12), ("bare", "endpoint"))
    ratio = next(line for line in text.splitlines() if line.startswith("| 0.5 | ratio"))
    assert ratio == "| 0.5 | ratio |  | 1.20 | 1.20 | 0.98 | 1.00 (1.00 to 1.00) | 1.00 |"
    assert "| ingress | 0.91 | 0.91 | 0.010 | 0.000 |" in text
    assert "TTFT p50 1.20 times" in text


def test_cpu_is_counted_for_the_group_that_a_process_belongs_to():
    from process_cpu import CLUSTER, ENGINE, INGRESS, OPERATOR, PROXY, RAY, SERVER, group_of

    commands = {
        "VLLM::EngineCore": ENGINE,
        "python -P -m vllm.entrypoints.openai.api_server --model x": SERVER,
        "ray::ServeReplica:endpoint:Engine": SERVER,
        "ray::ServeReplica:endpoint:Ingress": INGRESS,
        "python -P -m devcluster.services --kubeconfig x": PROXY,
        "python -P -m devcluster.kubelet run": CLUSTER,
        "python -P -m tidemill_operator --kubeconfig x": OPERATOR,
        "/usr/bin/raylet --node_ip_address=x": RAY,
    }
    assert {command: group_of(command) for command in commands} == commands


def test_only_cpu_of_the_time_between_two_looks_counts():
    import psutil
    from process_cpu import CpuMeter

    meter = CpuMeter(lambda: [psutil.Process()])
    meter.start()
    before = psutil.Process().cpu_times()
    while psutil.Process().cpu_times().user - before.user < 0.05:
        pass
    (spent,) = meter.stop().values()
    assert 0.05 <= spent < 30


def test_the_way_of_a_request_is_told_in_parts_where_the_engine_noted_it():
    from realtime_where import Way

    answers = [answer(0, first=0.1)]
    noted = Way.of("service", answers, {0: (0.01, 0.09)}, 0.002)
    assert noted.cells() == ("service", "100.00", "10.00", "80.00", "10.00", "2.00")
    assert Way.of("bare", answers, {}, 0.001).cells() == ("bare", "100.00", "", "", "", "1.00")


def test_the_gain_is_over_one_at_a_time_and_over_static_batches_of_the_same_size():
    from batching_report import Point, report
    from load_figures import Figures

    def figures(seconds):
        return Figures.of([answer(number, last=seconds) for number in range(2)])

    text = report([Point(1, figures(4.0), figures(4.0)), Point(2, figures(1.0), figures(2.0))])
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    assert [(row[1], row[4]) for row in rows[2:]] == [
        ("one at a time", "1.0"),
        ("continuous", "4.0"),
        ("static", "2.0"),
    ]
    assert "4.0 times the tokens of one at a time, so an answer costs 0.25 of one alone; 2.00 times" in text
