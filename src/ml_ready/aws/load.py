"""Load: how many requests a running server answers, how fast, and where more users gain nothing."""

import argparse
import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import numpy as np
import polars as pl
from pydantic import Field

from .. import artifact
from ..config import Section, load
from ..errors import ProjectError
from .command_line import say
from .settings import CONF, find_root

_NEARLY = 0.9
_HEAD = "| users | requests/s | p50 ms | p90 ms | p99 ms | failed |\n|---|---|---|---|---|---|"


class Limits(Section):
    """All of `conf/deploy/load.yaml`."""

    users: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1)]
    seconds: Annotated[float, Field(gt=0)]
    minimum_requests_per_second: Annotated[float, Field(ge=0)]
    maximum_p99_ms: Annotated[float, Field(gt=0)]
    maximum_failed_share: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Step:
    """What users at once measure."""

    users: int
    requests_per_second: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    failed_share: float


def summary(users: int, seen: Sequence[Sequence[float]], seconds: float) -> Step:
    """Sum up a step.

    Parameters
    ----------
    users : int
    seen : sequence of (milliseconds, whether it failed)
    seconds : float

    Returns
    -------
    Step

    Raises
    ------
    ProjectError
        When nothing was answered.
    """
    if not seen:
        raise ProjectError(f"no request of {users} users was answered within {seconds:g} seconds")
    times, failed = np.array(seen).T
    p50, p90, p99 = np.percentile(times, [50, 90, 99]).round(2).tolist()
    return Step(users, round(len(times) / seconds, 1), p50, p90, p99, float(failed.mean()))


def knee(steps: Sequence[Step]) -> Step:
    """Return the step from which on more users wait longer and get hardly more done.

    Parameters
    ----------
    steps : sequence of Step
        At least one, with more and more users.

    Returns
    -------
    Step
        The first one with at least 90 % of the highest number of requests per second.
    """
    highest = max(step.requests_per_second for step in steps)
    return next(step for step in steps if step.requests_per_second >= _NEARLY * highest)


def faults(steps: Sequence[Step], limits: Limits) -> list[str]:
    """Compare the steps with the limits; return a line for each limit that is broken.

    Parameters
    ----------
    steps : sequence of Step
    limits : Limits

    Returns
    -------
    list of str
        Empty where every limit holds. Requests per second and latency are those of the knee, the
        failed share is the highest of all steps.
    """
    at = knee(steps)
    failed = max(step.failed_share for step in steps)
    checks = [
        (at.requests_per_second, limits.minimum_requests_per_second, "requests a second"),
        (-at.p99_ms, -limits.maximum_p99_ms, "ms at the 99th percentile"),
        (-failed, -limits.maximum_failed_share, "of the requests failed"),
    ]
    return [
        f"{abs(value):.4g} {what}, required {'at least' if limit > 0 else 'at most'} {abs(limit):g}"
        for value, limit, what in checks
        if value < limit
    ]


def bodies(url: str, records: Path) -> list[str]:
    """Make a request of each of some real records, with the fields that the server takes.

    Parameters
    ----------
    url : str
        Of a running server.
    records : pathlib.Path
        Parquet, as the stage `ingest` writes it.

    Returns
    -------
    list of str
        1,000 requests in JSON, the same ones each time.

    Raises
    ------
    ProjectError
        When the server does not answer or describes no record, or there are no records.
    """
    if not records.is_file():
        raise ProjectError(f"{records}: no such file.", "Make it first: `poe pipeline`")
    try:
        # No proxy in between: the users have none either.
        with build_opener(ProxyHandler({})).open(f"{url}/openapi.json", timeout=10) as answer:
            description = json.load(answer)
    except (OSError, URLError, ValueError) as error:
        raise ProjectError(
            f"{url}: no answer ({error}):", "start the server, or give --url"
        ) from error
    schemas = description.get("components", {}).get("schemas", {})
    fields = list(schemas.get("Record", {}).get("properties", {}))
    if not fields:
        raise ProjectError(f"{url}/openapi.json: describes no record:", "give --url of this server")
    rows = pl.read_parquet(records, columns=fields).sample(1000, seed=0, with_replacement=True)
    return [json.dumps({"instances": [row]}) for row in json.loads(rows.write_json())]


def report(url: str, steps: Sequence[Step], limits: Limits, folder: Path) -> list[str]:
    """Write `load.json` and `load.md`, and return which limits are broken.

    Parameters
    ----------
    url : str
        Of the server.
    steps : sequence of Step
    limits : Limits
    folder : pathlib.Path
        Gets the files.

    Returns
    -------
    list of str
        As `faults` returns them.
    """
    at, broken = knee(steps), faults(steps, limits)
    result: dict[str, Any] = {"steps": [asdict(step) for step in steps], "knee": asdict(at)}
    result |= {"limits": limits.model_dump(), "broken": broken}
    folder.mkdir(exist_ok=True)
    (folder / "load.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    rows = (" | ".join(f"{number:g}" for number in asdict(step).values()) for step in steps)
    table = "\n".join([_HEAD, *(f"| {row} |" for row in rows)])
    verdict = "; ".join(broken) or "every limit holds"
    text = (
        f"# Load on {url}\n\n{table}\n\n"
        f"The knee is at {at.users} users with {at.requests_per_second:g} requests/s: {verdict}.\n"
        "One record a request; server and users share the machine if it is this one.\n"
    )
    (folder / "load.md").write_text(text, encoding="utf-8")
    say(text)
    return broken


def main(arguments: Sequence[str] | None = None) -> None:
    """Put load on a server, and compare what it does with the limits."""
    parser = argparse.ArgumentParser("load", description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="server (%(default)s)")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="instead of conf/deploy")
    options = parser.parse_args(arguments)
    root = find_root()
    limits = load(Limits, root / CONF, options.settings, "load")
    url = options.url.rstrip("/")
    work = {
        "url": url,
        "bodies": bodies(url, root / "data" / "raw" / artifact.RECORDS_FILE),
        "users": limits.users,
        "seconds": limits.seconds,
    }
    if importlib.util.find_spec("locust") is None:
        raise ProjectError("Locust is missing:", "python3 bootstrap.py poetry install --with load")
    command = [sys.executable, "-m", f"{__package__}.users"]
    done = subprocess.run(command, input=json.dumps(work), stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ProjectError("the users of Locust have stopped:", "see the error above")
    seen = zip(limits.users, json.loads(done.stdout), strict=True)
    steps = [summary(users, each, limits.seconds) for users, each in seen]
    broken = report(url, steps, limits, root / "reports")
    if broken:
        raise ProjectError(f"the server is too slow: {'; '.join(broken)};", "see reports/load.md")
