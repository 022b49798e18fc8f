"""Who leads by a Lease: what each candidate does next, and that never two may write at once."""

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tidemill_operator.core.lease import (
    GIVE_UP_SECONDS,
    LEASE_SECONDS,
    LOOK_SECONDS,
    MARGIN_SECONDS,
    RENEW_SECONDS,
    Candidate,
    Record,
    Step,
    held_by,
    may_write,
    next_step,
    released,
    saw,
    wrote,
)

OURS, THEIRS = Record("me", "t1", 1), Record("you", "t1", 1)


def leads_since(begun, record=OURS):
    return Candidate("me", record, begun, renewed=begun)


@pytest.mark.parametrize(
    ("candidate", "now", "step"),
    [
        (Candidate("me"), 100, Step.WAIT),
        (Candidate("me", Record()), 0, Step.ACQUIRE),
        (Candidate("me", THEIRS, since=0), 9.9, Step.WAIT),
        (Candidate("me", THEIRS, since=0), 10, Step.ACQUIRE),
        (Candidate("me", replace(THEIRS, seconds=15), since=0), 14.9, Step.WAIT),
        (Candidate("me", replace(THEIRS, seconds=1), since=0), 9.9, Step.WAIT),
        (Candidate("me", OURS), 0, Step.ACQUIRE),
        (leads_since(0), 6.9, Step.RENEW),
        (leads_since(0), 7, Step.GIVE_UP),
        (leads_since(0, THEIRS), 1, Step.GIVE_UP),
        (leads_since(0, Record()), 1, Step.GIVE_UP),
        (replace(leads_since(0), record=None), 1, Step.GIVE_UP),
    ],
    ids=[
        "there is no lease",
        "it is free",
        "another holds it",
        "it was not seen to change for its duration",
        "its holder wants longer",
        "its holder wants less than everybody waits",
        "the answer to our write was lost",
        "we hold it",
        "it was not renewed for too long",
        "another took it",
        "somebody emptied it",
        "somebody deleted it",
    ],
)
def test_the_next_step(candidate, now, step):
    assert next_step(candidate, now) is step


def test_what_stands_in_a_lease_says_nothing_of_when_it_is_over():
    long_ago = Candidate("me", None)
    seen = saw(long_ago, replace(THEIRS, renewed="1970-01-01T00:00:00.000000Z"), now=50)
    assert next_step(seen, 59) is Step.WAIT
    assert next_step(saw(seen, replace(THEIRS, renewed="2100-01-01T00:00:00.000000Z"), now=59), 60) is Step.WAIT


def test_an_unchanged_record_goes_on_ageing():
    assert saw(Candidate("me", THEIRS, since=3), THEIRS, now=9).since == 3


def test_a_leader_may_write_until_the_margin_before_its_lease_ends():
    assert may_write(leads_since(5), 5 + LEASE_SECONDS - MARGIN_SECONDS - 0.01)
    assert not may_write(leads_since(5), 5 + LEASE_SECONDS - MARGIN_SECONDS)
    assert GIVE_UP_SECONDS < LEASE_SECONDS - MARGIN_SECONDS, "it ends while it may still write"
    assert not may_write(Candidate("me", OURS), 0)


def test_taking_it_is_a_transition_and_renewing_is_none():
    assert held_by(Candidate("me", replace(THEIRS, transitions=4)), "t2") == Record("me", "t2", 5)
    assert held_by(Candidate("me", OURS), "t2") == Record("me", "t2", 1)
    assert released(Candidate("me", OURS), "t3") == Record("", "t3", 1)


@dataclass
class Request:
    """A read or write on its way; `answer` is what the server said, once it was there."""

    sent: float
    record: Record | None = None
    based_on: int = 0
    answer: tuple | None = None


class Process:
    """One candidate with a clock of its own, which runs at a rate near to that of all."""

    def __init__(self, name, offset, rate):
        self.name, self.offset, self.rate = name, offset, rate
        self.start(0)

    def start(self, number):
        self.number = number
        self.candidate = Candidate(f"{self.name}_{number}")
        self.version = 0
        self.request: Request | None = None

    def now(self, world):
        return self.offset + world * self.rate


class Elections(RuleBasedStateMachine):
    """Requests are sent, arrive and are answered at any time, or never; processes stop, lose their memory, give up."""

    def __init__(self):
        super().__init__()
        self.world = 0.0
        self.version, self.record = 1, Record()
        self.written = 0
        rates = ((0, 1.0), (1_000, 1.02), (-500, 0.98))
        self.processes = [Process(name, *rate) for name, rate in zip("abc", rates, strict=True)]

    who = st.integers(0, 2)

    @rule(seconds=st.sampled_from((0.1, 1.0, 5.0, 9.5)))
    def time_passes(self, seconds):
        self.world += seconds

    @rule(numbers=st.lists(who, min_size=1, max_size=4))
    def all_goes_well(self, numbers):
        for number in numbers:
            of = self.processes[number]
            of.request = None
            for ask in (self._read, self._step):
                ask(of)
                self._arrive(of)
                self._answer(of)

    @rule(numbers=st.lists(who, min_size=1, max_size=4), seconds=st.sampled_from((0.1, 5.0, 12.0)))
    def slowly(self, numbers, seconds):
        """Each comes one stage further, and time passes between two of them."""
        for number in numbers:
            of = self.processes[number]
            if of.request is None:
                self._step(of)
            elif of.request.answer is None:
                self._arrive(of)
            else:
                self._answer(of)
            self.world += seconds

    @rule(number=who, fate=st.sampled_from(("hears nothing", "is killed", "hands over")))
    def misfortune(self, number, fate):
        of = self.processes[number]
        if fate == "hands over" and of.candidate.renewed is not None:
            self.written += 1
            of.request = Request(0, released(of.candidate, f"t{self.written}"), of.version)
            self._arrive(of)
        if fate == "hears nothing":
            of.request = None
        else:
            of.start(of.number + 1)

    def _read(self, of):
        of.request = Request(of.now(self.world))

    def _step(self, of):
        """What the shell does: takes, renews, looks again, or ends and is started anew."""
        now = of.now(self.world)
        step = next_step(of.candidate, now)
        if step is Step.GIVE_UP:
            of.start(of.number + 1)
        elif step is Step.WAIT:
            self._read(of)
        else:
            self.written += 1
            of.request = Request(now, held_by(of.candidate, f"t{self.written}"), of.version)

    def _arrive(self, of):
        """A write counts only on the version that it was made for."""
        request = of.request
        if request is None:
            return
        if request.record is not None and request.based_on != self.version:
            request.answer = ()
            return
        if request.record is not None:
            self.version, self.record = self.version + 1, request.record
        request.answer = (self.version, self.record)

    def _answer(self, of):
        if of.request is None:
            return
        request, of.request = of.request, None
        if not request.answer:
            return
        of.version, record = request.answer
        if request.record is None:
            of.candidate = saw(of.candidate, record, of.now(self.world))
        else:
            of.candidate = wrote(of.candidate, record, request.sent)

    @invariant()
    def never_two_may_write(self):
        leaders = [of.name for of in self.processes if may_write(of.candidate, of.now(self.world))]
        assert len(leaders) <= 1


TestElections = Elections.TestCase
TestElections.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)


@given(
    dies=st.floats(20, 30),
    phase=st.floats(0, LOOK_SECONDS),
    answers=st.floats(0, 0.5),
)
def test_another_takes_over_within_fifteen_seconds(dies, phase, answers):
    """A leader that renews until it is killed, beside one that looks: each request takes so many seconds."""
    leader, standby, taken = leads_since(0), Candidate("you"), None
    renewals = 0
    now = phase
    while taken is None:
        if now < dies and now >= (renewals + 1) * RENEW_SECONDS:
            renewals = int(now // RENEW_SECONDS)
            leader = wrote(leader, held_by(leader, f"t{renewals}"), now)
        standby = saw(standby, leader.record, now + answers)
        if next_step(standby, now + answers) is Step.ACQUIRE:
            taken = now + 2 * answers
        now += LOOK_SECONDS + answers
    assert 0 < taken - dies < 15
    assert not may_write(leader, taken)
