"""A Docker with one image: a container does at once, and in little, what the jobs of a project do.

It is a program: the first argument is `version`, `compose` and so on, as of `docker`.
"""

import json
import shutil
import sys
from pathlib import Path

import yaml

WINDOWS = ("train", "validation", "test")


def main(words: list[str]) -> None:
    """Answer a command."""
    if words == ["compose", "version"]:
        sys.stdout.write("Docker Compose version v2.40.3\n")
    elif words[0] == "compose":
        described = yaml.safe_load(Path(words[2]).read_text(encoding="utf-8"))
        (container,) = described["services"].values()
        mounted = {}
        for volume in container["volumes"]:
            here, there = volume.removesuffix(":z").split(":")
            mounted[there.removeprefix("/opt/ml/")] = Path(here)
        command, *_ = container.get("entrypoint", ["train"])
        {"process": process, "train": train, "evaluate": evaluate}[command](mounted)
    elif words[0] == "ps":
        sys.stdout.write("left-over\n")


def process(mounted: dict[str, Path]) -> None:
    """Copy the source tables into each window."""
    for name in WINDOWS:
        source = mounted["processing/source"]
        shutil.copytree(source, mounted[f"processing/data/processed/{name}"], dirs_exist_ok=True)


def train(mounted: dict[str, Path]) -> None:
    """Write down which files the model is made of."""
    files = [
        f"{name}: {path.read_text(encoding='utf-8')}"
        for name in WINDOWS
        for path in sorted(mounted.get(f"input/data/{name}", Path("none")).glob("*.csv"))
    ]
    if any("broken" in each for each in files):
        sys.exit("records.csv is broken")
    mounted["model"].mkdir(exist_ok=True)
    (mounted["model"] / "model.txt").write_text("\n".join(files), encoding="utf-8")


def evaluate(mounted: dict[str, Path]) -> None:
    """Judge the model by whether the test window says that it is good."""
    window = mounted["processing/data/processed/test"] / "records.csv"
    good = "good" in window.read_text(encoding="utf-8")
    gate = {"good": good, "failed": "" if good else "test: 0.5 < 0.6"}
    metrics = {"gate": gate | {"not_worse_than_production": True}}
    text = json.dumps(metrics)
    (mounted["processing/reports"] / "metrics.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
