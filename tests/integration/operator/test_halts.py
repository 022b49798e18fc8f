"""A user suspends, resumes, cancels and resubmits: the real operator on a real API server."""

import signal

from integration.operator.conftest import JOBS, eventually, job
from integration.operator.test_jobs import answered, driver_up, replicas_are

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs, RowCounts


def cut_short(total, completed, reason=Reason.CANCELLED):
    return Outcome(
        reason=reason,
        message=f"{completed} of {total} rows are answered.",
        rows=RowCounts(total=total, completed=completed, failed=total - completed),
        output=OutputURIs(results="/data/out/results.jsonl", errors="/data/out/errors.jsonl"),
    )


async def edit(world, name="tickets", **spec):
    await world.client.patch(JOBS, world.namespace, name, {"spec": spec})


async def working(world):
    """A job with workers, 5 of its 25 rows answered."""
    await world.apply(job(workers={"min": 2, "max": 4}))
    await driver_up(world)
    world.head.process(total=25, completed=5)
    await replicas_are(world, 2)
    await world.until_condition("Progressing", ("True", "Processing"))


async def nothing_left(world):
    async def gone():
        return not await world.clusters() and not await world.secrets()

    await eventually(gone)


async def test_a_suspended_job_costs_nothing_and_goes_on_when_it_is_resumed(world):
    await working(world)
    await edit(world, suspend=True)
    await world.until_condition("Suspended", ("True", "SuspendRequested"))
    await nothing_left(world)
    assert len(world.head.stops) >= 1
    assert await world.condition("Progressing") == ("False", "SuspendRequested")
    assert (await world.status())["rows"]["completed"] == 5
    world.head.token = None  # another cluster has another token
    await edit(world, suspend=False)
    driver = await driver_up(world)
    assert (driver.config.attempt, driver.config.ending) == (2, None)
    assert await world.condition("Suspended") == ("False", "NotSuspended")
    world.head.finish(answered(25))
    await world.until_condition("Finished", ("True", "AllRowsAnswered"))
    for reason in ("SuspendRequested", "Suspended", "Resumed"):
        assert (await world.event(reason))["type"] == "Normal"


async def test_a_cancelled_job_has_the_rest_of_its_lines_written_and_ends(world):
    await working(world)
    world.head.refuse_stops = 2
    await edit(world, cancel=True)

    async def ending():
        return world.head.driver is not None and world.head.driver.config.ending

    assert await eventually(ending) == "Cancelled"
    assert len(world.head.stops) >= 3
    assert world.head.max_alive == 1
    await replicas_are(world, 0)
    assert await world.condition("Finished") == ("False", "Running")
    world.head.finish(cut_short(25, 6))
    await world.until_condition("Finished", ("True", "Cancelled"))
    assert (await world.status())["rows"] == {"total": 25, "completed": 6, "failed": 19, "remaining": 0}
    assert (await world.status())["output"]["errorsURI"] == "/data/out/errors.jsonl"
    await nothing_left(world)


async def test_an_operator_killed_while_a_job_is_cancelled_brings_it_to_its_end(world):
    await working(world)
    await world.operator.stop(by=signal.SIGKILL)
    await edit(world, cancel=True)
    await world.operator.start()

    async def ending():
        return world.head.driver is not None and world.head.driver.config.ending

    await eventually(ending)
    await world.operator.stop(by=signal.SIGKILL)
    world.head.finish(cut_short(25, 5))
    await world.operator.start()
    await world.until_condition("Finished", ("True", "Cancelled"))
    assert world.head.max_alive == 1
    assert world.head.posts == 2


async def test_a_suspended_job_that_is_cancelled_gets_a_cluster_for_its_lines(world):
    await working(world)
    await edit(world, suspend=True)
    await world.until_condition("Suspended", ("True", "SuspendRequested"))
    world.head.token = None
    await edit(world, cancel=True)
    driver = await driver_up(world)
    assert driver.config.ending == "Cancelled"
    assert await world.replicas() == [0]
    world.head.finish(cut_short(25, 5))
    await world.until_condition("Finished", ("True", "Cancelled"))


async def test_a_job_cancelled_before_its_input_was_there_ends_after_one_look_into_its_folder(world):
    await world.apply(job())
    await driver_up(world)
    world.head.finish(Outcome(reason=Reason.INPUT_NOT_FOUND, message="There is no /data/in.jsonl."), "FAILED")
    await world.until_condition("Progressing", ("False", "InputNotFound"))
    await edit(world, cancel=True)

    async def ending():
        return world.head.driver is not None and world.head.driver.config.ending

    assert await eventually(ending) == "Cancelled"
    world.head.finish(Outcome(reason=Reason.CANCELLED, message="The job was cancelled. No row was run."))
    await world.until_condition("Finished", ("True", "Cancelled"))
    waited = "It was waiting: InputNotFound: There is no /data/in.jsonl."
    assert await world.message("Succeeded") == f"The job was cancelled. No row was run. {waited}"
    await nothing_left(world)


async def test_a_job_waits_for_the_one_that_it_continues_and_starts_when_that_has_finished(world):
    await world.apply(job())
    await driver_up(world)
    await world.apply(job("rest", resubmitOf="tickets", output={"uri": "/data/rest/"}))
    await world.until_condition("Progressing", ("False", "ResubmitSourceNotReady"), "rest")
    assert len(await world.clusters()) == 1
    world.head.process(total=25, completed=5)
    await edit(world, cancel=True)

    async def ending():
        return world.head.driver is not None and world.head.driver.config.ending

    await eventually(ending)
    world.head.finish(cut_short(25, 5))
    await world.until_condition("Finished", ("True", "Cancelled"))
    world.head.token = None
    driver = await driver_up(world)
    assert (driver.config.name, driver.config.resubmit_of_uri) == ("rest", "/data/out/")
    assert (await world.status("rest"))["driver"]["resubmitOfURI"] == "/data/out/"
