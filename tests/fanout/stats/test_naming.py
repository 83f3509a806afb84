import logging

import pytest
import trio

from fanout.stats.naming import lines_named, name_lines

LOG = logging.getLogger("fanout")


async def test_lines_bear_the_name_of_the_task_that_logs_and_of_those_that_it_started(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def child() -> None:
        LOG.warning("a child's, %d %%", 1)

    async def task(name: str) -> None:
        name_lines(name)
        LOG.warning("its own")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    with lines_named():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, "one")
            nursery.start_soon(task, "two")
        LOG.warning("nobody's")
    assert sorted(each.getMessage() for each in caplog.records) == [
        "nobody's",
        "one: a child's, 1 %",
        "one: its own",
        "two: a child's, 1 %",
        "two: its own",
    ]


async def test_a_service_with_one_source_logs_without_names(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def task() -> None:
        name_lines("one")
        LOG.warning("its own")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(task)
    assert caplog.messages == ["its own"]
