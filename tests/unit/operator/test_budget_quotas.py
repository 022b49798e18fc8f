"""Quotas are asked for as rarely as their answers are needed, and nobody goes on as if there were none before."""

import asyncio
from datetime import timedelta

from unit.operator.test_sharing import GPU, NOW, Quotas, quota

from tidemill_operator.budgets import Budgets
from tidemill_operator.errors import ApiUnavailableError


class Slow(Quotas):
    """Stands for an API server that takes a while to answer, and fails the first so many times."""

    def __init__(self, *quotas, fails=0):
        super().__init__(*quotas)
        self.fails = fails

    async def list_all(self, resource, namespace, selector=""):
        await asyncio.sleep(0.01)
        async for one in super().list_all(resource, namespace, selector):
            if self.asked <= self.fails:
                raise ApiUnavailableError("no answer")
            yield one


def ask(budgets, *, after=0.0, ours=lambda: 0.0, namespace="team"):
    return budgets.budget(namespace, GPU, ours, NOW + timedelta(seconds=after))


def test_looks_that_begin_before_the_first_answer_wait_for_it():
    async def at_once():
        server = Slow(quota("9"))
        budgets = Budgets(server, 0)
        given = await asyncio.gather(*(ask(budgets) for _ in range(5)), ask(budgets, namespace="other"))
        return given, server.asked

    assert asyncio.run(at_once()) == ([9.0] * 6, 2)


def test_looks_go_on_with_what_is_known_while_one_of_them_asks_again():
    async def later():
        server = Slow(quota("9"))
        budgets = Budgets(server, 0)
        await ask(budgets)
        server.quotas = (quota("5"),)
        return await asyncio.gather(*(ask(budgets, after=11) for _ in range(3))), await ask(budgets, after=12)

    assert asyncio.run(later()) == ([5.0, 9.0, 9.0], 5.0)


def test_an_answer_that_fails_keeps_the_one_before():
    async def failing():
        server = Slow(quota("9"))
        budgets = Budgets(server, 0)
        await ask(budgets)
        server.fails = 2
        return await ask(budgets, after=11)

    assert asyncio.run(failing()) == 9.0


def test_a_look_that_began_before_the_last_answer_does_not_ask_again():
    async def out_of_order():
        server = Quotas(quota("9"))
        budgets = Budgets(server, 0)
        for after in (5, 3, 5, 0):
            await ask(budgets, after=after)
        return server.asked

    assert asyncio.run(out_of_order()) == 1


def test_what_is_ours_is_counted_only_where_a_quota_asks():
    counted = []

    def ours():
        counted.append(1)
        return 2.0

    async def of(*quotas, limit=0):
        return await ask(Budgets(Quotas(*quotas), limit), ours=ours)

    assert asyncio.run(of()) is None
    assert asyncio.run(of({"spec": {"hard": {"pods": "5"}}}, limit=3)) == 3.0
    assert counted == []
    assert asyncio.run(of(quota("4", "3"))) == 3.0
    assert counted == [1]


def test_that_quotas_may_not_be_read_is_said_once_until_they_may_be(caplog):
    async def hours():
        server = Quotas(quota("9"), refuses=True)
        budgets = Budgets(server, 0)
        for refuses, seconds in ((True, range(0, 100, 11)), (False, (110,)), (True, (121, 132))):
            server.refuses = refuses
            for after in seconds:
                await ask(budgets, after=after)

    asyncio.run(hours())
    assert caplog.text.count("may not list the ResourceQuotas of team") == 2
