"""What the configuration refuses and reports, and what the stages of DVC read of it."""

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import synthetic
import yaml
from ml_ready.config import combinations
from ml_ready.errors import ConfigError
from ml_ready.jobs import configure
from ml_ready.jobs.configure import configuration
from ml_ready.jobs.folders import Paths, paths
from ml_ready.project import Project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose configuration is only read."""
    return synthetic.make(tmp_path_factory.mktemp("read") / "project")


@pytest.fixture(params=synthetic.TASKS)
def each(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    """A project of each task in turn."""
    return synthetic.make(tmp_path / "project", request.param)


@pytest.fixture
def copied(project: Project, tmp_path: Path) -> Paths:
    """A repository with a copy of its configuration, free to be broken."""
    for name in ("conf", "data"):
        shutil.copytree(project.root / name, tmp_path / name)
    return Paths(tmp_path)


def change(path: Path, **values: Any) -> None:
    """Change values of a file of YAML."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content | values, sort_keys=False), encoding="utf-8")


def test_the_configuration_is_read_from_the_repository(each: Project) -> None:
    config = configuration(each, Paths(each.root))
    assert config.seed == synthetic.CONFIG["seed"]
    assert type(config.model) is each.training.Hyperparameters


def test_folders_are_those_of_the_project_or_else_the_working_folder(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "no job"))
    monkeypatch.chdir(tmp_path)
    assert paths(project.root) == Paths(project.root)
    assert paths(tmp_path / "elsewhere") == Paths(tmp_path)


def test_a_value_is_overridden(project: Project) -> None:
    assert configuration(project, Paths(project.root), ["seed=8"]).seed == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.tolerence=0.1", "data.tolerence=0.1: no such key; data has .*tolerance"),
        ("+data.depth=5", r"\+data.depth=5: no such key; data has"),
        ("sed=1", "sed=1: no such key; the configuration has .*seed"),
        ("seed=-1", "seed=-1: input should be greater than or equal to 0"),
        ("evaluation.minimum_gain=inf", "minimum_gain=inf: input should be a finite"),
        ("seed=true", "seed=True: expected a number"),
        ("seed=often", "seed=often: input should be a valid integer"),
        ("data.tolerance=2", "data.tolerance=2: input should be less than or equal to 1"),
        ("model=none", "Could not find 'model/none'"),
        ("nonsense", "nonsense: not an override; write key=value"),
        ("data.split.validation_until=1000-01-01", "must be before|must both be integers"),
        ("data.split.validation_until=3", "must both be integers or both be dates"),
        (
            "data.split.train_until=soon",
            "^data.split.train_until=soon: [^;]*; data.split.train_until=soon: [^;]*$",
        ),
        ("~seed", "seed: missing"),
        (
            "data.split={column: a, train_until: 2013-01-01, validation_until: 2014-01-01T00:00Z}",
            "can't compare offset-naive and offset-aware|must both be",
        ),
    ],
)
def test_a_bad_override_is_refused_in_one_line(
    project: Project, override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        configuration(project, Paths(project.root), [override])
    assert "\n" not in str(caught.value)


def test_every_unknown_key_is_named(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"sed=1: no such key.*; depth=2: no such key"):
        configuration(project, Paths(project.root), ["sed=1", "depth=2"])


def test_an_unknown_key_in_a_file_is_refused(project: Project, copied: Paths) -> None:
    change(copied.conf / "model" / "trees.yaml", depth=3)
    with pytest.raises(ConfigError, match=r"model.depth=3: no such key; model has"):
        configuration(project, copied)


def test_a_file_that_is_not_yaml_is_refused(project: Project, copied: Paths) -> None:
    (copied.conf / "config.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="conf: while parsing") as caught:
        configuration(project, copied)
    assert "\n" not in str(caught.value)


def test_a_sweep_is_every_combination() -> None:
    runs = combinations(["data.tolerance=0.1,0.2", "seed=1,2", "source=data/sample"])
    assert len(runs) == 4
    assert runs[0] == ["data.tolerance=0.1", "seed=1", "source=data/sample"]


def test_no_override_is_one_run() -> None:
    assert combinations([]) == [[]]


def test_a_sweep_that_cannot_be_parsed_is_refused() -> None:
    with pytest.raises(ConfigError, match="not an override"):
        combinations(["seed=[1"])
    with pytest.raises(ConfigError, match="not a sweep"):
        combinations(["seed=glob(*)"])


def test_a_stage_of_dvc_reads_the_values_that_dvc_has_compared(each: Project) -> None:
    where = Paths(each.root)
    composed = configuration(each, where)
    configure.main(each, where, [])
    assert configuration(each, where, ["--params"]) == composed
    change(where.conf / "config.yaml", seed=8)
    assert configuration(each, where).seed == 8
    assert configuration(each, where, ["--params"]) == composed


def test_what_dvc_does_not_compare_comes_from_conf(project: Project, copied: Paths) -> None:
    configure.main(project, copied, [])
    params = yaml.safe_load((copied.root / "params.yaml").read_text(encoding="utf-8"))
    assert params.keys() == {"data", "evaluation", "model", "packages", "seed", "tracking"}
    assert params["tracking"] == {"experiment": "parcels"}
    tracking = {"uri": "sqlite:///other.db", "experiment": "other"}
    change(copied.conf / "config.yaml", source="data/other", tracking=tracking)
    config = configuration(project, copied, ["--params"])
    assert config.source == "data/other"
    assert config.tracking.model_dump() == tracking | {"experiment": "parcels"}


def test_whole_numbers_as_boundaries_stay_whole_numbers(project: Project, copied: Paths) -> None:
    split = {"column": "stops", "train_until": 20, "validation_until": 30}
    change(copied.conf / "data" / "parcels.yaml", split=split)
    configure.main(project, copied, [])
    assert configuration(project, copied, ["--params"]).data.split.model_dump() == split


def test_boundaries_in_time_stay_times(project: Project, copied: Paths) -> None:
    configure.main(project, copied, [])
    split = configuration(project, copied, ["--params"]).data.split
    assert split.train_until == datetime(2024, 8, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not readable .*No such file.* Write it: `poe pipeline`"),
        ("a: [", "not readable .*while parsing"),
        ("[]", "not readable .*tracking"),
        ("{}", "not readable .*tracking"),
        ("tracking: {experiment: any}", "data: missing; .*model: missing"),
    ],
    ids=["missing", "no yaml", "a list", "empty", "cut off"],
)
def test_parameters_that_cannot_be_read_are_refused_in_one_line(
    project: Project, copied: Paths, content: str | None, message: str
) -> None:
    if content is not None:
        (copied.root / "params.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=message) as caught:
        configuration(project, copied, ["--params"])
    assert "\n" not in str(caught.value)


def test_parameters_take_no_settings(project: Project, copied: Paths) -> None:
    configure.main(project, copied, [])
    message = "^seed=8: --params takes every value from params.yaml. Leave --params out"
    with pytest.raises(ConfigError, match=message):
        configuration(project, copied, ["--params", "seed=8"])
