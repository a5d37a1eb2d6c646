"""Spark in the place of the first stages, and on hosts that work together in containers."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import polars as pl

from tests.project.conftest import Project, docker


def test_two_hosts_with_spark_make_what_polars_makes(built: Project, tmp_path: Path) -> None:
    built.does("poe image spark")
    image, hosts = f"{built.root.name}-spark", ["algo-1", "algo-2"]
    network = docker("network", "create", f"ml-ready-spark-{os.getpid()}")
    started = []
    try:
        for name in hosts:
            folder = tmp_path / name
            (folder / "config").mkdir(parents=True)
            resources = json.dumps({"current_host": name, "hosts": hosts})
            (folder / "config" / "resourceconfig.json").write_text(resources)
            shutil.copytree(built.root / "data/sample", folder / "processing" / "source")
            in_parts(folder / "processing" / "source" / "flights.parquet")
            options = ["--hostname", name, "--network", network, "--network-alias", name]
            # Code that runs once is not worth a second compilation.
            options += ["--env", "JDK_JAVA_OPTIONS=-XX:TieredStopAtLevel=1"]
            options += ["--env", "SPARK_WORKER_CORES=1", "--volume", f"{folder}:/opt/ml"]
            started.append(docker("run", "--detach", *options, image, "process-spark"))
        for container in started:
            subprocess.run(["docker", "wait", container], check=True, timeout=600)
            ended = docker("inspect", "--format", "{{.State.ExitCode}}", container)
            assert ended == "0", docker("logs", container)
        for window in ("train", "validation", "test"):
            found = [tmp_path / name / "processing/data/processed" / window for name in hosts]
            # What a host writes stays on it.
            parts = [pl.read_parquet(next(each.glob("*.parquet"))) for each in found]
            expected = pl.read_parquet(built.root / "data/processed" / window)
            assert pl.concat(parts).sort(pl.all()).equals(expected.sort(pl.all()))
    finally:
        if started:
            docker("rm", "--force", *started)
        docker("network", "rm", network)
        docker("rmi", "--force", image)


def in_parts(path: Path) -> None:
    """Make a table of one file one of six, which gives two hosts something to do."""
    table = pl.read_parquet(path)
    path.unlink()
    path.mkdir()
    for part in range(6):
        table.gather_every(6, part).write_parquet(path / f"{part}.parquet")


def test_spark_takes_the_place_of_the_first_stages_until_the_pipeline_runs_again(
    trained: Project,
) -> None:
    # As docs/sagemaker.md says.
    trained.does("process-spark")
    assert not (trained.root / "data/raw/records.parquet").exists()
    trained.does("poe pipeline")
    assert (trained.root / "data/raw/records.parquet").exists()
    assert "up to date" in trained.does("dvc status")
