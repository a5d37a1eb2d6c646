"""Proofs: slow tests of code that seldom changes, which `make proofs` runs, and CI does not.

`tests/proofs.md` says when each passed last, and the hash of the files that are listed here. CI
refuses a page with another hash.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TEMPLATE = Path(__file__).parents[1]
PAGE = "tests/proofs.md"
PROJECT = "{{cookiecutter.project_slug}}"
ASKED = "ML_READY_PROOFS"
"""The variable that says whether a run of pytest holds proofs: `yes` or `no`."""
HEAD = """\
# Proofs

Slow tests of code that seldom changes. `make proofs` runs those whose code has changed since, and
writes this page; CI refuses it when it is older than the code. `tests/proofs.py` lists the code.

| proof | shows | passed on | tests | minutes | code |
|---|---|---|---|---|---|
"""


class Proof(NamedTuple):
    """Tests, and the code that they show.

    Parameters
    ----------
    shows : str
        What holds when the tests pass.
    tests : tuple of str
        Files, or tests in them, as pytest takes them.
    code : tuple of str
        Patterns of files. The files of the tests count too, but not what they import.
    """

    shows: str
    tests: tuple[str, ...]
    code: tuple[str, ...]

    def covers(self, test: str) -> bool:
        """Whether a test, by its node id, belongs to this proof."""
        function = test.partition("[")[0]
        return any(name in (function, function.partition("::")[0]) for name in self.tests)

    def digest(self, root: Path) -> str:
        """Hash the code in a folder; a pattern without a file is a mistake."""
        files = {root / name.partition("::")[0] for name in self.tests}
        for pattern in self.code:
            matches = {path for path in root.glob(pattern) if path.is_file()}
            if not matches:
                raise FileNotFoundError(f"PROOFS of tests/proofs.py: no file matches {pattern}")
            files |= {path for path in matches if path.suffix != ".pyc"}
        content = hashlib.sha256()
        for path in sorted(files):
            content.update(f"{path.relative_to(root).as_posix()}\n".encode())
            content.update(hashlib.sha256(path.read_bytes()).digest())
        return content.hexdigest()[:12]


PROOFS = {
    "aws": Proof(
        "docs/sagemaker.md, word for word: images, jobs and pipeline in containers, an endpoint",
        ("tests/project/test_sagemaker.py",),
        (
            f"{PROJECT}/container/Dockerfile",
            f"{PROJECT}/docs/runbook.md",
            f"{PROJECT}/docs/sagemaker.md",
            f"{PROJECT}/*poetry.lock*",
            "src/ml_ready/aws/**/*",
            "src/ml_ready/jobs/*",
        ),
    ),
    "bakes": Proof(
        "a bake that is stopped, meets another or fills the disk leaves a whole project or none",
        ("tests/render/test_cut_off.py",),
        ("hooks/*", "local_extensions.py", "scripts/packer.py"),
    ),
    "bootstrap": Proof(
        "`bootstrap.py` with real pip and Poetry: indexes, credentials, certificates, kills",
        ("tests/project/test_bootstrap.py",),
        (f"{PROJECT}/bootstrap.py", f"{PROJECT}/poetry.toml"),
    ),
    "ci": Proof(
        "each job of GitHub's workflow and GitLab's pipeline, in a repository and a monorepo",
        ("tests/project/test_ci.py",),
        (
            f"{PROJECT}/.github/workflows/*",
            f"{PROJECT}/*.gitlab-ci.yml*",
            f"{PROJECT}/bootstrap.py",
            "hooks/post_gen_project.py",
            "tests/project/workflow.py",
        ),
    ),
    "clients": Proof(
        "XGBoost in containers: a job; many, slow, silent and large requests; load",
        ("tests/project/test_clients.py",),
        (
            f"{PROJECT}/*xgboost*poetry.lock*",
            f"{PROJECT}/container/Dockerfile",
            "src/ml_ready/aws/load.py",
            "src/ml_ready/runner.py",
            "src/ml_ready/serving/*",
        ),
    ),
    "from-0.1.0": Proof(
        "an edited project of 0.1.0 moves to this version as its page says",
        ("tests/project/test_from_0_1_0.py",),
        (
            "docs/from-0.1.0.md",
            "tests/project/from_0_1_0/*",
            "src/ml_ready/artifact.py",
            "src/ml_ready/project.py",
            "src/ml_ready/serving/predictor.py",
            "src/ml_ready/testing/fixtures.py",
        ),
    ),
    "kills": Proof(
        "a pipeline and a training that are stopped at any moment come to the same",
        ("tests/project/test_cut_off.py",),
        (
            "src/ml_ready/artifact.py",
            "src/ml_ready/jobs/dvc_locks.py",
            "src/ml_ready/jobs/train.py",
            "src/ml_ready/training/checkpoints.py",
            "src/ml_ready/training/runs.py",
        ),
    ),
    "locks": Proof(
        "`make lock` with real Poetry: what fits stays, and all locks change or none",
        (
            "tests/project/test_demo.py::test_a_lock_that_fits_stays_as_it_is",
            "tests/project/test_demo.py::test_if_one_cannot_be_locked_every_lock_stays_as_it_is",
        ),
        ("scripts/refresh_lock.py", "scripts/packer.py"),
    ),
    "pin": Proof(
        "another version of the library, an index and back, with real Poetry",
        ("tests/project/test_pin.py",),
        ("src/ml_ready/pin.py", f"{PROJECT}/bootstrap.py", "scripts/packer.py"),
    ),
    "python-3.13": Proof(
        "jobs, AWS and server on Python 3.13, by the library's tests that start no process",
        ("tests/project/test_python_jobs.py",),
        (
            f"{PROJECT}/*poetry.lock*",
            "src/ml_ready/aws/**/*",
            "src/ml_ready/jobs/*",
            "src/ml_ready/serving/*",
            "src/ml_ready/testing/*",
        ),
    ),
    "regression": Proof(
        "the README of a project with regression and XGBoost, and another problem in its place",
        ("tests/project/test_regression.py",),
        (
            f"{PROJECT}/**/*",
            "src/ml_ready/tasks/regression.py",
            "tests/project/swap/progression/**/*",
            "tests/project/swap_surface.py",
        ),
    ),
    "release": Proof(
        "`make release` and the workflow of a tag, with a remote, an index and a wheel",
        ("tests/render/test_release.py", "tests/render/test_release_workflow.py"),
        (
            ".github/workflows/release.yml",
            "scripts/packer.py",
            "scripts/release.py",
            "scripts/sbom.py",
        ),
    ),
    "sample": Proof(
        "the data sample is drawn again from its package, byte for byte",
        ("tests/render/test_data_sample.py",),
        ("scripts/draw_sample.py", f"{PROJECT}/data/sample/*"),
    ),
    "spark-hosts": Proof(
        "Spark in the place of the first stages; two hosts with it make what polars makes",
        ("tests/project/test_spark_hosts.py",),
        (
            f"{PROJECT}/container/Dockerfile",
            "src/ml_ready/jobs/cluster.py",
            "src/ml_ready/jobs/spark.py",
        ),
    ),
    "swap": Proof(
        "another classification takes the place of the example, by what the README names alone",
        ("tests/project/test_swap.py",),
        (
            f"{PROJECT}/**/*",
            "tests/project/swap/masses/**/*",
            "tests/project/swap_surface.py",
        ),
    ),
}


def recorded(root: Path) -> dict[str, str]:
    """Read the row of each proof from the page."""
    page = root / PAGE
    text = page.read_text("utf-8") if page.is_file() else ""
    return {line.split("|")[1].strip(): line for line in text.splitlines() if line[:3] == "| `"}


def stale(root: Path) -> Iterator[str]:
    """Yield the name of each proof that is older than its code, or is not on the page."""
    rows = recorded(root)
    for name, proof in PROOFS.items():
        if f"`{proof.digest(root)}` |" not in rows.get(f"`{name}`", ""):
            yield name
