"""Calls end in time, whatever they do."""

import threading
import time

import pytest

from cp_pipeline.ingest.deadline import Deadline, OutOfTime


def test_results_and_errors_are_those_of_the_call() -> None:
    deadline = Deadline(30)
    assert deadline.call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        deadline.call(lambda: 1 // 0)
    assert deadline.call(threading.current_thread) is deadline.call(threading.current_thread)
    deadline.close()


def test_a_call_that_does_not_end_is_left_and_the_next_one_is_not_started() -> None:
    deadline, wake, started = Deadline(0.2), threading.Event(), []
    before = time.monotonic()
    with pytest.raises(OutOfTime):
        deadline.call(lambda: wake.wait(30))
    with pytest.raises(OutOfTime):
        deadline.call(lambda: started.append(1))
    assert time.monotonic() - before < 5
    assert deadline.remaining == 0
    wake.set()
    deadline.close()
    time.sleep(0.1)
    assert started == []


def test_a_few_calls_run_at_once_and_their_results_come_in_order() -> None:
    deadline, together = Deadline(30), threading.Barrier(4)

    def double(number: int) -> int:
        # Each of the first four waits for the other three.
        if number < 4:
            together.wait(20)
        return 2 * number

    assert list(deadline.call_each(double, range(50))) == [2 * number for number in range(50)]
    assert list(deadline.call_each(double, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(deadline.call_each(lambda number: 1 // number, [3, 2, 1, 0, 1]))
    deadline.close()


def test_of_calls_at_once_those_that_ended_in_time_are_given() -> None:
    deadline, wake = Deadline(0.3), threading.Event()
    answers = deadline.call_each(lambda number: wake.wait(30 if number == 2 else 0), range(9))
    assert [next(answers), next(answers)] == [False, False]
    with pytest.raises(OutOfTime):
        next(answers)
    wake.set()
    deadline.close()
