"""The simulated cluster, against figures worked out by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.simulate.trace_builders import Always, job, trace

from tidemill_operator.simulate.policy import Said
from tidemill_operator.simulate.run import END_SECONDS, play
from tidemill_operator.simulate.trace import Capacity, Loss, Price


def test_one_worker_takes_its_start_up_and_the_work_and_is_paid_for_both():
    record = play(trace(job()), Always(1))
    one = record.jobs["one"]
    assert one.finished == pytest.approx(100 + 3600, abs=0.01)
    assert one.bill.gpu_seconds == pytest.approx(100 + 3600 + END_SECONDS, abs=0.01)
    assert one.bill.cost == pytest.approx(one.bill.gpu_seconds / 3600 * 2.0)
    assert (one.bill.starts, one.bill.flaps, one.met, one.as_planned) == (1, 0, True, True)


def test_four_workers_are_four_times_as_fast_and_pay_four_start_ups():
    one = play(trace(job()), Always(4)).jobs["one"]
    assert one.finished == pytest.approx(100 + 900, abs=0.01)
    assert one.bill.gpu_seconds == pytest.approx(4 * (100 + 900 + END_SECONDS), abs=0.04)


def test_rows_that_differ_change_the_pace_and_not_the_work():
    even = play(trace(job()), Always(2)).jobs["one"]
    uneven = play(trace(job(row_spread=0.8)), Always(2)).jobs["one"]
    assert uneven.finished == pytest.approx(even.finished, abs=0.01)


def test_what_is_observed_is_rows_and_seconds_and_the_true_rate_nowhere():
    policy = Always(2)
    play(trace(job(rows_per_second=2.5)), policy)
    samples = [view for seen in policy.seen for view in seen.jobs if view.sample_seconds > 0]
    assert sum(view.sample_rows for view in samples) / sum(view.sample_seconds for view in samples) == pytest.approx(
        2.5
    )
    assert [view.sample_starts for seen in policy.seen for view in seen.jobs if view.sample_starts] == [(100.0, 100.0)]


def test_a_window_that_ends_first_ends_the_job_and_frees_its_workers():
    record = play(trace(job(window=1800.0)), Always(1))
    one = record.jobs["one"]
    assert (one.finished, one.met) == (None, False)
    assert one.bill.gpu_seconds == pytest.approx(1800 + END_SECONDS)


def test_workers_beyond_the_budget_wait_and_cost_nothing():
    record = play(trace(job("a"), job("b"), gpus=1), Always(1))
    ends = sorted(one.finished for one in record.jobs.values())
    assert ends == pytest.approx([3700, 3700 + END_SECONDS + 3700], abs=0.01)
    assert record.gpu_hours * 3600 == pytest.approx(2 * (3700 + END_SECONDS), abs=0.02)


def test_a_worker_of_two_gpus_lets_one_of_one_gpu_pass():
    record = play(trace(job("a"), job("b", gpus=2), job("c"), gpus=2), Always(1))
    assert record.jobs["b"].finished > record.jobs["c"].finished


def test_a_lost_worker_is_ordered_again_and_its_rows_in_hand_run_again():
    whole = play(trace(job()), Always(1)).jobs["one"]
    lost = play(trace(job(), Loss(time=1000.0, share=1.0)), Always(1)).jobs["one"]
    assert lost.bill.losses == 1
    assert lost.bill.starts == 2
    # Found at the next look, started anew, and 20 s of its work again.
    assert whole.finished + 100 + 20 <= lost.finished <= whole.finished + 30 + 100 + 20 + 0.1


def test_half_of_the_workers_are_lost_at_once():
    record = play(trace(*(job(f"j{i}") for i in range(6)), Loss(time=1000.0, share=0.5)), Always(1))
    assert sum(one.bill.losses for one in record.jobs.values()) == 3


def test_gpus_that_the_cluster_does_not_have_are_waited_for():
    held = play(trace(job(), Capacity(time=0.0, gpus=0), Capacity(time=600.0, gpus=1)), Always(1)).jobs["one"]
    assert held.finished == pytest.approx(600 + 3700, abs=0.01)


def test_a_worker_sent_away_and_ordered_again_is_a_flap_and_pays_two_starts():
    one = play(trace(job()), Always(lambda seen: 2 if seen.now < 600 or seen.now >= 900 else 1)).jobs["one"]
    assert (one.bill.flaps, one.bill.starts) == (1, 3)


def test_cheaper_hours_are_cheaper():
    dear = play(trace(job()), Always(1)).jobs["one"]
    cheap = play(trace(job(), Price(start=0, end=86400, factor=0.25)), Always(1)).jobs["one"]
    part = play(trace(job(), Price(start=0, end=1800, factor=0.0)), Always(1)).jobs["one"]
    assert cheap.bill.cost == pytest.approx(dear.bill.cost / 4)
    assert part.bill.cost == pytest.approx(dear.bill.cost - 1800 / 3600 * 2.0)


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    noisy = {"row_spread": 0.4, "worker_spread": 0.2, "start_up_spread": 0.5, "losses_per_hour": 0.5}
    ends = [play(trace(job(**noisy), seed=seed), Always(3)).jobs["one"].finished for seed in (1, 1, 2)]
    assert ends[0] == ends[1] != ends[2]


def test_an_alert_counts_once_and_as_false_only_where_the_job_ran_as_planned():
    class Crier(Always):
        def decide(self, seen):
            answer = super().decide(seen)
            answer.said = {view.name: Said(alert="Warning") for view in seen.jobs}
            return answer

    lines = (job("soon"), job("late", target=1800.0))
    record = play(trace(*lines), Crier(1))
    assert [(name, one.false_alerts) for name, one in sorted(record.jobs.items())] == [("late", 0), ("soon", 1)]
    assert record.false_alerts == 1


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    gpus=st.integers(1, 8),
    losses=st.floats(0, 3),
    seed=st.integers(0, 1000),
)
def test_whatever_a_policy_does_the_budget_holds_and_the_books_balance(sizes, gpus, losses, seed):
    jobs = [job(f"j{i}", rows=900, losses_per_hour=losses, worker_spread=0.3, row_spread=0.5) for i in range(3)]
    policy = Always(lambda seen: sizes[int(seen.now // 300) % len(sizes)])
    record = play(trace(*jobs, gpus=gpus, seed=seed), policy)
    assert record.ended == 3
    assert all(point.job_gpus <= gpus for point in record.points)
    for one in record.jobs.values():
        assert one.bill.cost == pytest.approx(one.bill.gpu_seconds / 3600 * 2.0)
        if one.met:  # no work is done without a worker that holds a GPU for it
            assert one.bill.gpu_seconds >= 900 + 100 - 0.01
