"""The judge of the chaos tests: which second tries of a row a loss explains."""

import pytest
from chaos_notes import Loss, Notes, may_run_again, unexplained


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
