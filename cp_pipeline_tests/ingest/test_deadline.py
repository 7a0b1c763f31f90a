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
