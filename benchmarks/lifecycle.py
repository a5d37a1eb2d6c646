"""What a project costs from its bake to its tests: seconds of the commands a user types."""

import shutil
import subprocess
import sys
from pathlib import Path

from measure import TEMPLATE, Bench, Command, Contender, MeasureError, Quantity, timed

BAKE = [Quantity("bake", "s", 0.6)]
BAKE_IN_PROCESS = [Quantity("– of which cookiecutter in process", "s", 0.6)]
GOLDEN_PATH = [
    Quantity("bake → prediction, warm package cache", "s", 60),
    Quantity("– of which the environment", "s"),
    Quantity("– of which data, features, model, report", "s"),
    Quantity("bake → prediction, cold package cache", "s"),
]
HOOKS = [
    Quantity("`pre-commit run -a`, first", "s"),
    Quantity("`pre-commit run -a`, warm", "s", 5),
]
TESTS = [Quantity("unit + module tests", "s", 20)]

CCDS = "https://github.com/drivendataorg/cookiecutter-data-science"
IN_PROCESS = """
import sys, time
from cookiecutter.main import cookiecutter
started = time.perf_counter()
cookiecutter(sys.argv[1], no_input=True, default_config=True, output_dir=sys.argv[2])
print(time.perf_counter() - started)
"""
KEDRO_NEW: Command = ["--tools", "lint,test,log,docs,data", "--example", "no", "--telemetry", "no"]


def bake(bench: Bench) -> dict[str, Contender]:
    """Command to finished folder, with default answers.

    ml-ready validates the answers and makes the first commit. ccds bakes from a clone of its
    template, made beforehand; kedro with the tools that it can add without GitHub.
    """

    def ours() -> dict[str, float]:
        command: Command = [Path(sys.executable).with_name("cookiecutter"), "--no-input", TEMPLATE]
        return {"bake": timed(command, bench.new_folder("bake"))}

    def ccds() -> dict[str, float]:
        programs = bench.environment("ccds", "cookiecutter-data-science")
        clone = bench.folder / "ccds-template"
        if not clone.exists():
            tag = f"v{bench.versions['ccds']}"
            git: Command = ["git", "clone", "--quiet", "--depth", "1", "--branch", tag, CCDS, clone]
            try:
                timed(git, bench.folder)
            except MeasureError as error:
                raise MeasureError("not run: its template lies on GitHub, out of reach") from error
        return {"bake": timed([programs / "ccds", "--no-input", clone], bench.new_folder("bake"))}

    def kedro() -> dict[str, float]:
        command: Command = [
            bench.environment("kedro", "kedro") / "kedro",
            "new",
            "--name",
            "Flight Delays",
        ]
        folder = bench.new_folder("bake")
        return {"bake": timed([*command, *KEDRO_NEW], folder, DO_NOT_TRACK="1")}

    return {"ml-ready": ours, "ccds": ccds, "kedro": kedro}


def bake_in_process(bench: Bench) -> dict[str, Contender]:
    """Bake within a Python process: answers validated, hook and first commit, but no import."""

    def ours() -> dict[str, float]:
        command: Command = [sys.executable, "-c", IN_PROCESS, TEMPLATE, bench.new_folder("bake")]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        return {BAKE_IN_PROCESS[0].name: float(done.stdout.splitlines()[-1])}

    return {"ml-ready": ours}


def golden_path(bench: Bench) -> dict[str, Contender]:
    """`make demo`: bake, environment from the lock, pipeline, server, one prediction.

    Cold: the caches of pip and Poetry are empty. Warm: those that the cold run has filled. No
    peer on the package index comes with an example that goes as far.
    """

    def ours() -> dict[str, float]:
        caches = bench.new_folder("caches")
        variables = {
            "XDG_CACHE_HOME": str(caches),
            "PIP_CACHE_DIR": str(caches / "pip"),
            "POETRY_CACHE_DIR": str(caches / "poetry"),
        }
        cold = bench.golden_path(bench.new_folder("cold"), **variables)
        warm = bench.golden_path(bench.new_folder("warm"), **variables)
        for folder in (caches, *bench.projects[:-1]):
            shutil.rmtree(folder, ignore_errors=True)
        return {
            "bake → prediction, warm package cache": warm["total"],
            "– of which the environment": warm["Environment from the lock"],
            "– of which data, features, model, report": warm["Data, features, model, report"],
            "bake → prediction, cold package cache": cold["total"],
        }

    return {"ml-ready": ours}


def hooks(bench: Bench) -> dict[str, Contender]:
    """All files of a baked project; the hooks have to pass and change nothing.

    First: without the caches of mypy, ruff and pre-commit.
    """

    def ours() -> dict[str, float]:
        project = bench.project()
        home = bench.new_folder("pre-commit")
        for cache in (".mypy_cache", ".ruff_cache"):
            shutil.rmtree(project / cache, ignore_errors=True)
        command: Command = [project / ".venv" / "bin" / "pre-commit", "run", "--all-files"]
        return {
            f"`pre-commit run -a`, {when}": timed(command, project, PRE_COMMIT_HOME=str(home))
            for when in ("first", "warm")
        }

    return {"ml-ready": ours}


def tests(bench: Bench) -> dict[str, Contender]:
    """`poe test-unit` and then `poe test-module` in a baked project."""

    def ours() -> dict[str, float]:
        poe = bench.project() / ".venv" / "bin" / "poe"
        tiers = ("test-unit", "test-module")
        return {"unit + module tests": sum(timed([poe, tier], bench.project()) for tier in tiers)}

    return {"ml-ready": ours}
