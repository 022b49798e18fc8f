"""The judge of the chaos tests: which second tries of a row a loss explains."""

import pytest
from chaos_jobs import durable_rows
from chaos_notes import Loss, Notes, begun_although_kept, may_run_again, unexplained


@pytest.fixture
def notes(tmp_path):
    return Notes(tmp_path)


def write(notes, engine, *events):
    (notes.folder / f"{engine}.notes").write_text("".join(f"{what} {when} {row}\n" for what, when, row in events))


def test_runs_tell_engine_and_times_and_a_line_being_written_is_left_out(notes):
    write(notes, "pod-a-7-1", ("start", 1, "-"), ("begin", 2, "r"), ("answer", 3, "r"), ("begin", 4, "s"))
    with (notes.folder / "pod-a-7-1.notes").open("a") as file:
        file.write("answer 5")
    first, second = notes.runs()
    assert (first.custom_id, first.engine, first.began, first.answered) == ("r", "pod-a-7-1.notes", 2, 3)
    assert (second.custom_id, second.answered) == ("s", None)
    assert notes.answered() == 1
    assert notes.starts() == {"pod-a-7-1.notes": 1}
    assert [run.custom_id for run in notes.in_flight(4.5, "pod-a")] == ["s"]


@pytest.mark.parametrize(
    ("answered", "lost_at", "explained"),
    [
        (None, 101, True),  # in flight
        (105, 110, True),  # answered, and not flushed yet
        (105, 106 + 10.5, False),  # durable since long
        (105, 99, False),  # it began after the loss
    ],
)
def test_a_second_try_is_explained_by_what_was_lost(notes, answered, lost_at, explained):
    first = [("begin", 100, "r")] + ([("answer", answered, "r")] if answered else [])
    write(notes, "pod-a-7-1", *first)
    write(notes, "pod-b-7-2", ("begin", 150, "r"), ("answer", 151, "r"))
    losses = [Loss(lost_at, lost_at)]
    assert (unexplained(notes, losses) == []) is explained
    assert may_run_again(notes, losses) == int(explained)
    assert notes.run_again() == {"r": 1}


def test_a_try_before_the_loss_is_not_explained_by_it(notes):
    write(notes, "pod-a-7-1", ("begin", 100, "r"), ("answer", 101, "r"))
    write(notes, "pod-b-7-2", ("begin", 102, "r"), ("answer", 103, "r"))
    assert len(unexplained(notes, [Loss(104, 104)])) == 1
    assert unexplained(notes, [Loss(101.5, 101.5)]) == []


def test_the_loss_of_one_engine_explains_nothing_about_another(notes):
    write(notes, "pod-a-7-1", ("begin", 100, "r"))
    write(notes, "pod-b-7-2", ("begin", 100, "s"))
    write(notes, "pod-b-8-3", ("begin", 103, "r"), ("begin", 103, "s"))
    losses = [Loss(102, 102, "pod-a")]
    ((first, _),) = unexplained(notes, losses)
    assert first.custom_id == "s"
    assert may_run_again(notes, losses) == 1


def test_without_a_loss_every_second_try_is_for_nothing(notes):
    write(notes, "pod-a-7-1", ("begin", 100, "r"), ("begin", 101, "s"), ("answer", 102, "r"))
    write(notes, "pod-b-7-2", ("begin", 103, "r"))
    ((first, second),) = unexplained(notes, [])
    assert (first.custom_id, second.engine) == ("r", "pod-b-7-2.notes")


def test_a_loss_explains_nothing_about_engines_that_started_after_it(notes):
    """However long the lost ones may linger: the next attempt's rows are its own."""
    write(notes, "pod-a-7-1", ("start", 99, "-"), ("begin", 100, "r"))
    write(notes, "pod-a-8-2", ("start", 130, "-"), ("begin", 131, "r"), ("answer", 132, "r"))
    write(notes, "pod-a-9-3", ("start", 160, "-"), ("begin", 161, "r"))
    lingering = Loss(110, 200, struck=111)
    ((first, second),) = unexplained(notes, [lingering])
    assert (first.engine_started, second.engine_started) == (130, 160)
    assert unexplained(notes, [lingering, Loss(140, 230, struck=141)]) == []


def test_an_engine_that_starts_while_the_others_are_killed_is_lost_with_them(notes):
    write(notes, "pod-a-7-1", ("start", 110.5, "-"), ("begin", 110.7, "r"))
    write(notes, "pod-a-8-2", ("start", 130, "-"), ("begin", 131, "r"))
    assert unexplained(notes, [Loss(110, 131, struck=111)]) == []
    assert len(unexplained(notes, [Loss(110, 131)])) == 1


def test_a_row_with_a_durable_line_is_begun_by_no_engine_that_started_after_the_loss(notes):
    write(notes, "pod-a-7-1", ("start", 99, "-"), ("begin", 105, "r"), ("answer", 106, "r"), ("begin", 112, "s"))
    write(notes, "pod-a-8-2", ("start", 130, "-"), ("begin", 131, "r"))
    loss = Loss(110, 200, struck=111, kept=frozenset("rs"))
    (again,) = begun_although_kept(notes, [loss])
    assert (again.custom_id, again.began) == ("r", 131)
    assert unexplained(notes, [loss]) == [], "by the times alone it might have been lost"


def test_durable_are_the_rows_with_a_whole_line_in_the_parts(tmp_path):
    lines = b'[1,"result",3,2,0,{"custom_id":"a"}]\n[2,"error",0,0,0,{"custom_id":"b"}]\n[3,"result",3,2,0,{"cust'
    (tmp_path / "parts" / "00000000").mkdir(parents=True)
    (tmp_path / "parts" / "00000000" / "w-1.jsonl").write_bytes(lines)
    assert durable_rows(tmp_path) == {"a", "b"}
    assert durable_rows(tmp_path / "nothing") == frozenset()
