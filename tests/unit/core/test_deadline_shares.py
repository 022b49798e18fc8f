"""The share-out of a namespace's GPUs: what must hold for any claims, and who goes first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_operator.core.deadline.shares import Claim, shares, starved_for

if TYPE_CHECKING:
    import random


@st.composite
def claim_lists(draw: st.DrawFn) -> list[Claim]:
    """Up to a dozen claims of both kinds."""
    claims = []
    for number in range(draw(st.integers(0, 12))):
        want = draw(st.integers(0, 12))
        must = draw(st.integers(0, want))
        claims.append(
            Claim(
                key=f"object-{number}",
                want=want,
                must=must,
                urgent=draw(st.integers(0, must)),
                have=draw(st.integers(0, 12)),
                cost=draw(st.sampled_from([0.0, 1.0, 1.0, 2.0, 8.0])),
                endpoint=draw(st.booleans()),
                deadline=draw(st.floats(0, 1e5)),
                target=draw(st.floats(0, 1e5)),
                starved_seconds=draw(st.sampled_from([0.0, 0.0, 10.0, 500.0])),
            )
        )
    return claims


BUDGETS = st.floats(0, 60)


@settings(deadline=None)
@given(claim_lists(), BUDGETS)
def test_the_total_is_never_above_the_budget(claims: list[Claim], budget: float) -> None:
    given_out = shares(claims, budget)
    assert sum(given_out[claim.key] * claim.cost for claim in claims) <= budget + 1e-6


@settings(deadline=None)
@given(claim_lists(), BUDGETS)
def test_nobody_gets_more_than_is_wanted_or_there(claims: list[Claim], budget: float) -> None:
    given_out = shares(claims, budget)
    assert all(0 <= given_out[claim.key] <= max(claim.want, claim.have) for claim in claims)


@settings(deadline=None)
@given(claim_lists(), BUDGETS, st.randoms(use_true_random=False))
def test_the_order_of_the_claims_changes_nothing(claims: list[Claim], budget: float, chance: random.Random) -> None:
    mixed = list(claims)
    chance.shuffle(mixed)
    assert shares(mixed, budget) == shares(claims, budget)


@settings(deadline=None)
@given(claim_lists(), BUDGETS, st.floats(0, 20))
def test_no_gpu_is_left_while_a_claim_goes_without(claims: list[Claim], budget: float, more: float) -> None:
    given_out = shares(claims, budget + more)
    left = budget + more - sum(given_out[claim.key] * claim.cost for claim in claims)
    lacking = [claim.cost for claim in claims if given_out[claim.key] < claim.want]
    assert all(cost > left - 1e-6 for cost in lacking)


@settings(deadline=None)
@given(claim_lists())
def test_without_a_budget_everybody_gets_what_is_wanted(claims: list[Claim]) -> None:
    assert all(shares(claims, None)[claim.key] >= claim.want for claim in claims)


def test_endpoints_come_before_jobs() -> None:
    claims = [Claim("chat", want=3, endpoint=True), Claim("job", want=4, must=4, urgent=4, have=4, deadline=1.0)]
    assert shares(claims, 5) == {"chat": 3, "job": 2}


def test_endpoints_share_evenly_what_is_too_little_for_all() -> None:
    claims = [Claim("a", want=5, endpoint=True), Claim("b", want=2, endpoint=True)]
    assert shares(claims, 4) == {"a": 2, "b": 2}


def test_the_earliest_window_goes_first_among_those_that_need() -> None:
    late = Claim("late", want=4, must=4, urgent=4, deadline=200.0)
    early = Claim("early", want=4, must=3, urgent=3, deadline=100.0)
    assert shares([late, early], 5) == {"early": 3, "late": 2}


def test_a_worker_at_work_is_not_stopped_for_a_mere_target() -> None:
    at_work = Claim("at-work", want=1, must=1, have=4, deadline=900.0, target=300.0)
    new = Claim("new", want=4, must=1, deadline=500.0, target=100.0)
    assert shares([at_work, new], 6) == {"at-work": 4, "new": 2}


def test_a_worker_at_work_is_stopped_for_a_window_that_needs_it() -> None:
    at_work = Claim("at-work", want=1, must=1, have=4, deadline=900.0, target=300.0)
    new = Claim("new", want=4, must=4, urgent=4, deadline=500.0, target=100.0)
    assert shares([at_work, new], 6) == {"at-work": 2, "new": 4}


def test_what_the_window_needs_is_kept_against_a_later_one_that_cannot_wait() -> None:
    first = Claim("first", want=3, must=3, urgent=2, have=3, deadline=500.0, target=300.0)
    second = Claim("second", want=6, must=6, urgent=6, have=3, deadline=900.0, target=100.0)
    assert shares([first, second], 6) == {"first": 3, "second": 3}


def test_a_need_that_sways_around_a_whole_number_moves_nobody() -> None:
    """One job's need goes to and fro between 2.7 and 3.1 workers; the other one's worker stays where it is."""
    other = Claim("other", want=4, must=1, have=3, deadline=900.0, target=100.0)
    for must, urgent in ((3, 2), (4, 3), (3, 2), (4, 3)):
        swaying = Claim("swaying", want=5, must=must, urgent=urgent, have=3, deadline=500.0, target=800.0)
        assert shares([swaying, other], 6) == {"swaying": 3, "other": 3}


def test_every_job_gets_a_first_worker_before_another_gets_its_second() -> None:
    claims = [Claim(f"job-{number}", want=4, deadline=float(number), target=float(number)) for number in range(4)]
    assert shares(claims, 5) == {"job-0": 2, "job-1": 1, "job-2": 1, "job-3": 1}


def test_a_starved_job_gets_a_worker_however_urgent_the_others_are() -> None:
    urgent = [Claim(f"urgent-{number}", want=9, must=9, urgent=9, deadline=float(number)) for number in range(3)]
    patient = Claim("patient", want=5, must=1, deadline=9999.0, starved_seconds=1.0)
    assert shares([*urgent, patient], 8)["patient"] == 1


def test_an_endless_stream_of_urgent_jobs_starves_nobody() -> None:
    """A stream that needs the whole budget, against one job with a day's window: it waits its patience, no longer."""
    window, tick, waited = 86_400.0, 600.0, 0.0
    while waited < window:
        stream = Claim("stream", want=8, must=8, urgent=8, deadline=waited + 900)
        patient = Claim("patient", want=1, must=1, deadline=window, starved_seconds=starved_for(waited, window))
        if shares([stream, patient], 8)["patient"]:
            break
        waited += tick
    assert waited <= window / 3 + tick


def test_starved_jobs_take_no_more_than_a_quarter_out_of_turn() -> None:
    hungry = [Claim(f"hungry-{n}", want=1, deadline=9999.0, starved_seconds=5.0) for n in range(20)]
    urgent = Claim("urgent", want=16, must=16, urgent=16, deadline=1.0)
    given_out = shares([*hungry, urgent], 16)
    assert given_out["urgent"] == 12
    assert sum(given_out[claim.key] for claim in hungry) == 4


def test_a_worker_that_does_not_fit_leaves_its_gpus_to_a_smaller_one() -> None:
    large, small = (
        Claim("large", want=1, must=1, urgent=1, cost=8.0, deadline=1.0),
        Claim("small", want=3, deadline=2.0),
    )
    assert shares([large, small], 4) == {"large": 0, "small": 3}


def test_a_worker_without_a_gpu_costs_nothing_of_the_budget() -> None:
    assert shares([Claim("cpu", want=6, cost=0.0), Claim("gpu", want=2)], 1) == {"cpu": 6, "gpu": 1}


@st.composite
def lost_and_in_time(draw: st.DrawFn) -> tuple[list[Claim], list[Claim]]:
    """Jobs without a worker that have lost their windows, and jobs at work that still make theirs."""
    late = [
        Claim(f"late-{n}", want=w, must=w, urgent=w, deadline=draw(st.floats(0, 1e4)), target=0.0, lost=True)
        for n, w in enumerate(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    ]
    good = [
        Claim(f"good-{n}", want=h, must=h, have=h, deadline=draw(st.floats(1e4, 1e5)), target=draw(st.floats(1e4, 1e5)))
        for n, h in enumerate(draw(st.lists(st.integers(1, 12), min_size=1, max_size=4)))
    ]
    return late, good


@settings(deadline=None)
@given(lost_and_in_time(), st.floats(0, 10))
def test_a_lost_window_takes_no_running_worker_from_a_job_that_can_still_meet_its_own(
    jobs: tuple[list[Claim], list[Claim]], spare: float
) -> None:
    late, good = jobs
    given_out = shares([*late, *good], sum(job.have for job in good) + spare)
    assert all(given_out[job.key] == job.have for job in good)


def test_a_job_that_goes_on_past_its_window_waits_for_one_that_works_in_time() -> None:
    late = Claim("late", want=8, must=8, urgent=8, deadline=0.0, target=0.0, lost=True)
    good = Claim("good", want=8, must=3, urgent=3, have=8, deadline=1e4, target=1e4)
    assert shares([late, good], 8.0) == {"late": 0, "good": 8}
    assert shares([late, good], 12.0) == {"late": 4, "good": 8}
    assert shares([replace(late, starved_seconds=60.0), good], 8.0) == {"late": 1, "good": 7}, "nobody starves"
