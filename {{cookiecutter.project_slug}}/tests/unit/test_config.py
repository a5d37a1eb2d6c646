"""What the configuration refuses, and what it says."""

from pathlib import Path

import pytest

from {{ cookiecutter.package_name }}.config import combinations
from {{ cookiecutter.package_name }}.entrypoints.configure import (
    Configuration,
    configuration,
)
from {{ cookiecutter.package_name }}.entrypoints.environment import Paths, paths
from {{ cookiecutter.package_name }}.errors import ConfigError


@pytest.fixture
def copied(tmp_path: Path) -> Paths:
    """A repository with a copy of this configuration, free to be broken."""
    for file in paths().conf.rglob("*.yaml"):
        target = tmp_path / "conf" / file.relative_to(paths().conf)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    return Paths(tmp_path)


def test_the_configuration_is_read_from_the_repository(config: Configuration) -> None:
    assert f"seed: {config.seed}\n" in (paths().conf / "config.yaml").read_text(encoding="utf-8")


def test_a_value_is_overridden() -> None:
    assert configuration(paths(), ["seed=7"]).seed == 7


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
        ("data.split.validation_until=1000-01-01", "must lie before|must be of one kind"),
        (
            "data.split.train_until=soon",
            "^data.split.train_until=soon: [^;]*; data.split.train_until=soon: [^;]*$",
        ),
        ("~seed", "seed: missing"),
        (
            "data.split={column: a, train_until: 2013-01-01, validation_until: 2014-01-01T00:00Z}",
            "can't compare offset-naive and offset-aware|of one kind",
        ),
    ],
)
def test_a_bad_override_is_refused_in_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        configuration(paths(), [override])
    assert "\n" not in str(caught.value)


def test_every_unknown_key_is_named() -> None:
    with pytest.raises(ConfigError, match="sed=1: no such key.*; depth=2: no such key"):
        configuration(paths(), ["sed=1", "depth=2"])


def test_an_unknown_key_in_a_file_is_refused(copied: Paths) -> None:
    file = next((copied.conf / "model").iterdir())
    file.write_text(file.read_text(encoding="utf-8") + "\ndepth: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="model.depth=3: no such key; model has"):
        configuration(copied)


def test_a_file_that_is_not_yaml_is_refused(copied: Paths) -> None:
    (copied.conf / "config.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="conf: while parsing") as caught:
        configuration(copied)
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
