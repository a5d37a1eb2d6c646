"""Runs a job of a GitHub workflow on this machine: its steps in order, in a fresh clone."""

import hashlib
import itertools
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class WorkflowError(Exception):
    """A job cannot be run, or fails: the step, and what is wrong."""


def evaluate(expression: str, known: Mapping[str, str], workspace: Path) -> str:
    """Read those of GitHub's expressions that our workflows use; all others are errors."""
    expression = expression.strip()
    if " && " in expression:
        sides = [evaluate(side, known, workspace) for side in expression.split(" && ")]
        return str(all(side == "true" for side in sides)).lower()
    if " == " in expression:
        sides = [evaluate(side, known, workspace) for side in expression.split(" == ")]
        return str(len({*sides}) == 1).lower()
    if found := re.fullmatch(r"hashFiles\((.+)\)", expression):
        digest = hashlib.sha256()
        for name in found[1].split(", "):
            file = workspace / evaluate(name, known, workspace)
            if not file.is_file():
                # GitHub would go on with an empty hash.
                raise WorkflowError(f"{expression}: there is no {name}")
            digest.update(file.read_bytes())
        return digest.hexdigest()
    if found := re.fullmatch("'([^']*)'", expression):
        return found[1]
    if expression in known:
        return known[expression]
    raise WorkflowError(f"{expression}: no such value, expected one of {', '.join(sorted(known))}")


def matrix_of(job: Mapping[str, Any]) -> list[dict[str, str]]:
    """List the combinations of a job's matrix."""
    axes = job["strategy"]["matrix"]
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


@dataclass(frozen=True)
class Runner:
    """A machine of GitHub's, with the actions that our workflows use.

    Parameters
    ----------
    workspace : pathlib.Path
        Where each job finds its clone.
    cache, artifacts : pathlib.Path
        What outlives a job.
    environment : mapping
        All that a job sees of the outside.
    """

    workspace: Path
    cache: Path
    artifacts: Path
    environment: Mapping[str, str]

    def run(
        self, repository: Path, workflow: Mapping[str, Any], job: str, matrix: Mapping[str, str]
    ) -> str:
        """Run one job of a workflow, and return what its commands printed.

        Raises
        ------
        WorkflowError
            When a step fails; as at GitHub, steps that ask for it run all the same before.
        """
        definition = workflow["jobs"][job]
        known = {f"matrix.{name}": value for name, value in matrix.items()}
        known |= {"runner.os": platform.system(), "!cancelled()": "true", "success()": "true"}
        cached: list[tuple[Path, Path]] = []
        hit, output, failure = False, "", ""
        for step in definition["steps"]:
            condition = re.sub(r"^\$\{\{(.*)\}\}$", r"\1", step.get("if", "success()"))
            if "()" not in condition:
                condition = f"success() && {condition}"
            if evaluate(condition, known, self.workspace) != "true":
                continue
            try:
                inputs = {
                    name: self._filled(text, known) for name, text in step.get("with", {}).items()
                }
                paths = [self.workspace / line for line in inputs.get("path", "").split()]
                match re.sub("@.*", "", step.get("uses", "run")):
                    case "actions/checkout":
                        shutil.rmtree(self.workspace, ignore_errors=True)
                        self._command(f"git clone --quiet '{repository}' '{self.workspace}'", "/")
                    case "actions/setup-python":
                        outputs = f"steps.{step.get('id')}.outputs"
                        known[f"{outputs}.python-version"] = platform.python_version()
                    case "actions/cache":
                        place = self.cache / inputs["key"]
                        hit = place.exists()
                        place.mkdir(parents=True, exist_ok=True)
                        cached = [(path, place / path.name) for path in paths]
                        for path, store in cached:
                            if store.exists():
                                store.rename(path)
                    case "actions/upload-artifact":
                        for path in paths:
                            if not path.is_dir() or not any(path.iterdir()):
                                raise WorkflowError(f"no files were found with {path}")
                            shutil.copytree(path, self.artifacts / inputs["name"])
                    case "run":
                        folder = workflow.get("defaults", {}).get("run", {})
                        environment = {
                            name: self._filled(text, known)
                            for scope in (workflow, definition, step)
                            for name, text in scope.get("env", {}).items()
                        }
                        output += self._command(
                            self._filled(step["run"], known),
                            self.workspace / folder.get("working-directory", "."),
                            **environment,
                        )
                    case other:
                        raise WorkflowError(f"{other}: no such action here")
            except WorkflowError as error:
                failure = failure or f"{step.get('run', step.get('uses'))}: {error}"
                known["success()"] = "false"
        for path, store in cached:
            if path.exists() and (hit or not failure):
                path.rename(store)
            elif not failure:
                failure = f"actions/cache: there is no {path} to keep"
        if failure:
            raise WorkflowError(f"{', '.join(matrix.values())}: {failure}")
        return output

    def _filled(self, text: object, known: Mapping[str, str]) -> str:
        return re.sub(
            r"\$\{\{(.*?)\}\}", lambda found: evaluate(found[1], known, self.workspace), str(text)
        )

    def _command(self, command: str, folder: Path | str, **environment: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-c", command],
            cwd=folder,
            env={**self.environment, "CI": "true", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
        if done.returncode:
            raise WorkflowError(f"exit status {done.returncode}\n{done.stdout}")
        return done.stdout
