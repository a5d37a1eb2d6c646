"""The users of `load`: a process of its own, since Locust changes the standard library."""

from locust import FastHttpUser, task  # isort: skip
from locust.env import Environment  # isort: skip

import itertools
import json
import sys
import time
from collections.abc import Sequence

import gevent


def _measure(
    url: str, bodies: Sequence[str], users: Sequence[int], seconds: float
) -> list[list[tuple[float, bool]]]:
    """Send requests with more and more users.

    Parameters
    ----------
    url : str
        Of a running server.
    bodies : sequence of str
        Requests in JSON, sent in turn.
    users : sequence of int
        How many at once, in each step.
    seconds : float
        How long each step takes, after a second of warming up.

    Returns
    -------
    list of list of tuple
        For each step and request, how long the answer took in milliseconds, and whether it failed
        or is still missing.
    """
    turn = itertools.cycle(bodies)

    class User(FastHttpUser):  # type: ignore[misc]
        host = url

        @task  # type: ignore[untyped-decorator]
        def invoke(self) -> None:
            headers = {"Content-Type": "application/json"}
            open_since[self] = time.monotonic()
            self.client.post("/invocations", data=next(turn), headers=headers)
            del open_since[self]

    open_since: dict[User, float] = {}
    seen: list[tuple[float, bool]] = []
    environment = Environment(user_classes=[User])
    environment.events.request.add_listener(
        lambda response_time, exception, **_: seen.append((response_time, exception is not None))
    )
    runner = environment.create_local_runner()
    steps = []
    for count in users:
        runner.start(count, spawn_rate=count)
        gevent.sleep(1)
        seen.clear()
        gevent.sleep(seconds)
        waited = [time.monotonic() - since for since in open_since.values()]
        # One that has been open for most of the step has no answer.
        steps.append([*seen, *((1000 * each, True) for each in waited if each > seconds / 2)])
    runner.quit()
    return steps


if __name__ == "__main__":
    json.dump(_measure(**json.load(sys.stdin)), sys.stdout)
