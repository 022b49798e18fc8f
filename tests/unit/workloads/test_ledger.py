"""The ledger: no work is lost, none is held twice, and rows that kill engines are found in few deaths."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tidemill_workloads.index import Chunk
from tidemill_workloads.ledger import Ledger, Level, Piece, Suspect, Work, groups_of

ROWS_EACH = 10


def chunk(number: int, rows: int = ROWS_EACH) -> Chunk:
    return Chunk(number, number * 100, 100, number * rows + 1, rows, rows)


def ledger_of(count: int, rows: int = ROWS_EACH) -> Ledger:
    ledger = Ledger()
    for number in range(count):
        ledger.add((Piece(chunk(number, rows)),))
    return ledger


def suspects_of(work: Work) -> list[Suspect]:
    return [
        Suspect(piece.chunk, line)
        for piece in work.pieces
        for line in range(piece.chunk.first_line, piece.chunk.first_line + piece.chunk.rows)
        if piece.covers(line)
    ]


def lines_of(work: Work) -> list[int]:
    return [suspect.line for suspect in suspects_of(work)]


def chunks_of(works: list[Work]) -> list[int]:
    return [work.pieces[0].chunk.number for work in works]


def test_work_is_handed_out_in_order_and_just_enough_of_it() -> None:
    ledger = ledger_of(5)
    assert chunks_of(ledger.take("a", 15)) == [0, 1]
    assert chunks_of(ledger.take("b", 1)) == [2]
    assert ledger.take("c", 0) == []
    assert chunks_of(ledger.take("a", 999)) == [3, 4]
    assert not ledger.complete


def test_what_a_lost_writer_held_comes_first_again_in_order_under_new_numbers() -> None:
    ledger = ledger_of(6)
    first = ledger.take("a", 20)
    ledger.take("b", 10)
    ledger.lose("a", witnessed=False)
    again = ledger.take("b", 999)
    assert chunks_of(again) == [0, 1, 3, 4, 5]
    assert {work.number for work in first}.isdisjoint(work.number for work in again)
    ledger.ended("a", first[0].number)
    assert 0 in chunks_of(list(ledger.held["b"].values())), "the word of a writer that holds nothing changes nothing"


def test_work_handed_back_in_order_suspects_nobody() -> None:
    ledger = ledger_of(1)
    (work,) = ledger.take("a", 1)
    ledger.give_back("a", work.number)
    (again,) = ledger.take("b", 1)
    assert (again.level, again.strikes, lines_of(again)) == (Level.WHOLE, 0, lines_of(work))


def test_two_unwitnessed_losses_make_suspects_where_one_does_not() -> None:
    ledger = ledger_of(1)
    ledger.take("a", 1)
    ledger.lose("a", witnessed=False)
    (again,) = ledger.take("b", 1)
    assert (again.level, again.strikes) == (Level.WHOLE, 1)
    ledger.lose("b", witnessed=False)
    assert ledger.take("c", 1) == [], "it waits for a look at its parts"
    assert not ledger.complete
    ((loss, works),) = ledger.losses.items()
    ledger.resolve(loss, {works[0].number: suspects_of(works[0])[:4]})
    assert [len(lines_of(ledger.take(name, 1)[0])) for name in ("c", "d")] == [2, 2]


def test_suspects_run_with_nothing_beside_them() -> None:
    ledger = ledger_of(3)
    (work,) = ledger.take("a", 1)
    ledger.died("a", {work.number: suspects_of(work)})
    (group,) = ledger.take("b", 999)
    assert group.exclusive
    assert ledger.take("b", 999) == []
    ledger.ended("b", group.number)
    assert len(ledger.take("b", 999)) == 1


def test_rows_that_were_not_in_flight_when_the_engine_died_are_nobodys_suspects() -> None:
    ledger = ledger_of(1)
    (work,) = ledger.take("a", 1)
    ledger.died("a", {work.number: suspects_of(work)[:3]})
    works = [ledger.take(name, 1)[0] for name in ("b", "c", "d")]
    assert sorted(len(lines_of(work)) for work in works if work.exclusive) == [1, 2]
    assert [lines_of(work) for work in works if not work.exclusive] == [lines_of(work)[3:]]


def test_a_row_that_was_lost_alone_with_its_node_is_run_alone_once_more_before_it_is_condemned() -> None:
    ledger = Ledger()
    ledger.add((Piece(chunk(0), (3,)),), Level.ALONE)
    ledger.take("a", 1)
    ledger.lose("a", witnessed=False)
    (work,) = ledger.take("b", 1)
    assert work.level == Level.ALONE
    ledger.lose("b", witnessed=False)
    ((loss, works),) = ledger.losses.items()
    ledger.resolve(loss, {works[0].number: suspects_of(works[0])})
    (work,) = ledger.take("c", 1)
    assert (work.level, work.exclusive) == (Level.CONDEMNED, False)
    ledger.lose("c", witnessed=True)
    assert ledger.take("d", 1)[0].level == Level.CONDEMNED


@pytest.mark.parametrize(("count", "sizes"), [(64, [8] * 8), (1, [1]), (2, [2]), (10, [4, 4, 2]), (0, [])])
def test_groups_hold_about_the_square_root(count: int, sizes: list[int]) -> None:
    suspects = [Suspect(chunk(number // ROWS_EACH), number + 1) for number in range(count)]
    groups = groups_of(suspects)
    assert [sum(piece.rows for piece in group) for group in groups] == sizes
    found = [line for group in groups for piece in group for line in piece.lines or ()]
    assert found == list(range(1, count + 1))


def play(ledger: Ledger, poison: frozenset[int], precise: bool) -> tuple[Counter[int], list[int], int]:
    """One engine on all the work; how often each row was answered, the condemned rows, and the deaths."""
    answered: Counter[int] = Counter()
    condemned: list[int] = []
    deaths = 0
    while not ledger.complete:
        works = ledger.take("w", 64)
        assert works, "work is left and nobody gets it"
        if works[0].level == Level.CONDEMNED:
            condemned += lines_of(works[0])
            for work in works[1:]:
                ledger.give_back("w", work.number)
        elif any(line in poison for work in works for line in lines_of(work) if line not in answered):
            deaths += 1
            rows = {work.number: [s for s in suspects_of(work) if s.line not in answered] for work in works}
            if precise:
                ledger.died("w", rows)
            else:
                ledger.lose("w", witnessed=True)
                for loss, lost in list(ledger.losses.items()):
                    ledger.resolve(loss, {work.number: rows.get(work.number, []) for work in lost})
            continue
        else:
            answered.update(line for work in works for line in lines_of(work) if line not in answered)
        for work in works:
            ledger.ended("w", work.number)
    return answered, condemned, deaths


@pytest.mark.parametrize("precise", [True, False])
@pytest.mark.parametrize("rows_each", [1, 2, 64])
def test_one_deadly_row_of_64_in_flight_costs_three_deaths(rows_each: int, precise: bool) -> None:
    for deadly in (1, 17, 64):
        ledger = ledger_of(64 // rows_each, rows_each)
        answered, condemned, deaths = play(ledger, frozenset({deadly}), precise)
        assert (condemned, deaths) == ([deadly], 3)
        assert sorted(answered) == [line for line in range(1, 65) if line != deadly]


@given(
    chunks=st.integers(1, 12),
    rows=st.integers(1, 12),
    poison=st.frozensets(st.integers(1, 144), max_size=6),
    precise=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_only_deadly_rows_are_condemned_and_every_other_row_is_answered_once(
    chunks: int, rows: int, poison: frozenset[int], precise: bool
) -> None:
    every = range(1, chunks * rows + 1)
    answered, condemned, deaths = play(ledger_of(chunks, rows), poison, precise)
    assert sorted(condemned) == sorted(poison & set(every))
    assert answered == Counter(line for line in every if line not in poison)
    assert deaths <= 3 * len(condemned)


class LedgerMachine(RuleBasedStateMachine):
    """Random writers take, end, give back, die, fall silent: every row stays in exactly one place."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = ledger_of(6, 4)
        self.rows = Counter(range(1, 25))
        self.done: Counter[int] = Counter()

    writers = st.sampled_from(["a", "b", "c"])

    def held(self, writer: str) -> list[Work]:
        return list(self.ledger.held[writer].values())

    @rule(writer=writers, rows=st.integers(0, 12))
    def take(self, writer: str, rows: int) -> None:
        exclusive = any(work.exclusive for work in self.held(writer))
        given_now = self.ledger.take(writer, rows)
        assert not (exclusive and given_now)

    @rule(writer=writers, which=st.integers(0, 5))
    def end(self, writer: str, which: int) -> None:
        if held := self.held(writer):
            work = held[which % len(held)]
            self.ledger.ended(writer, work.number)
            self.done.update(lines_of(work))

    @rule(writer=writers, which=st.integers(0, 5))
    def give_back(self, writer: str, which: int) -> None:
        if held := self.held(writer):
            self.ledger.give_back(writer, held[which % len(held)].number)

    @rule(writer=writers, flying=st.integers(0, 8))
    def die(self, writer: str, flying: int) -> None:
        self.ledger.died(writer, {work.number: suspects_of(work)[:flying] for work in self.held(writer)})

    @rule(writer=writers, witnessed=st.booleans())
    def lose(self, writer: str, witnessed: bool) -> None:
        self.ledger.lose(writer, witnessed)

    @precondition(lambda self: self.ledger.losses)
    @rule()
    def resolve(self) -> None:
        loss, works = next(iter(self.ledger.losses.items()))
        self.ledger.resolve(loss, {work.number: suspects_of(work) for work in works})

    @invariant()
    def every_row_is_in_one_place(self) -> None:
        places = Counter(self.done)
        for work in self.ledger.waiting:
            places.update(lines_of(work))
        for _, _, work in self.ledger.returned:
            places.update(lines_of(work))
        for held in self.ledger.held.values():
            for work in held.values():
                places.update(lines_of(work))
        for works in self.ledger.losses.values():
            for work in works:
                places.update(lines_of(work))
        assert places == self.rows
        assert self.ledger.complete == (self.done == self.rows)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
