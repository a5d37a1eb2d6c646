"""A/B: losses, intervals, sample sizes, and what SageMaker captures."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from {{ cookiecutter.package_name }}.deployment import experiment
from {{ cookiecutter.package_name }}.deployment.experiment import (
    captured,
    compare,
    labelled,
)
from {{ cookiecutter.package_name }}.errors import ProjectError

PREDICTED, CAME_TRUE = np.array([0.9, 0.2]), np.array([1.0, 0.0])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (experiment.brier, [0.01, 0.04]),
        (experiment.logarithmic, [-np.log(0.9), -np.log(0.8)]),
        (experiment.absolute, [0.1, 0.2]),
        (experiment.quantile(0.9), [0.09, 0.02]),
    ],
)
def test_a_loss_is_that_of_the_field(loss: Any, expected: list[float]) -> None:
    assert loss(PREDICTED, CAME_TRUE).tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("shift", "spread", "verdict"),
    [
        (-0.5, 1.0, "v2 is better"),
        (0.5, 1.0, "v1 is better"),
        (0.0, 0.01, "no difference that matters: it is below 0.1"),
        (0.0, 5.0, "undecided: wait for"),
    ],
)
def test_the_verdict_follows_the_interval(shift: float, spread: float, verdict: str) -> None:
    draw = np.random.default_rng(0)
    old, new = draw.normal(1, spread, 1000), draw.normal(1 + shift, spread, 1000)
    found = compare(old, new, 0.1, variants=("v1", "v2"))
    assert found.verdict.startswith(verdict)
    assert found.low <= found.effect <= found.high
    assert found.effect == pytest.approx(new.mean() - old.mean())
    assert found.size == pytest.approx(shift / spread, abs=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        found = compare(draw.exponential(1, 200), draw.exponential(1.5, 100), 0.1)
        held += found.low <= 0.5 <= found.high
    assert 925 <= held <= 970


def test_so_many_records_show_the_smallest_effect_as_often_as_they_should() -> None:
    draw = np.random.default_rng(2)
    needed = compare(draw.normal(0, 1, 5000), draw.normal(0, 1, 5000), 0.2).needed
    assert needed == pytest.approx(2 * (1.96 + 0.8416) ** 2 / 0.04, rel=0.05)
    shown = sum(
        compare(draw.normal(0, 1, needed), draw.normal(0.2, 1, needed), 0.2).low > 0
        for _ in range(1000)
    )
    assert 760 <= shown <= 840


def test_equal_losses_are_no_difference() -> None:
    found = compare(np.ones(50), np.ones(50), 0.1)
    assert (found.effect, found.size) == (0, 0)


@pytest.mark.parametrize(
    ("records", "smallest", "said"),
    [
        (29, 0.1, "old: 29 records with a label, expected at least 30"),
        (30, 0, "smallest effect 0: expected a number above 0"),
    ],
)
def test_what_shows_nothing_is_refused(records: int, smallest: float, said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        compare(np.arange(records), np.arange(50), smallest)


def event(predictions: list[dict[str, float]], key: str, kind: str, *, named: bool = True) -> str:
    """A line as SageMaker writes it."""
    text = json.dumps({"predictions": predictions})
    if kind != "application/json":
        text = "\n".join(json.dumps(each) for each in predictions)
    output = {"observedContentType": kind, "mode": "OUTPUT", "data": text, "encoding": "JSON"}
    if kind != "application/json":
        output |= {"data": base64.b64encode(text.encode()).decode(), "encoding": "BASE64"}
    about = {"eventId": key} | ({"inferenceId": key} if named else {})
    return json.dumps({"captureData": {"endpointOutput": output}, "eventMetadata": about})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What was captured of two variants."""
    draw = np.random.default_rng(3)
    endpoint = tmp_path / "delays"
    for variant, kind in (("v1", "application/json"), ("v2", "application/jsonlines")):
        hour = endpoint / variant / "2026" / "11" / "25" / "20"
        hour.mkdir(parents=True)
        lines = [
            event([{"score": value}], f"{variant}-{n}", kind, named=n % 2 == 0)
            for n, value in enumerate(draw.uniform(0, 1 if variant == "v1" else 0.2, 200))
        ]
        (hour / "1.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return endpoint


def test_captured_answers_and_labels_become_a_verdict(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"{variant}-{n}" for variant in ("v1", "v2") for n in range(200)]
    labels = pl.DataFrame({"inference_id": keys, "late": [0] * len(keys)})
    for suffix in (".csv", ".parquet"):
        path = tmp_path / f"labels{suffix}"
        labels.write_csv(path) if suffix == ".csv" else labels.write_parquet(path)
        words = [str(folder), str(path), "v1", "v2", "--prediction", "score", "--label", "late"]
        experiment.main([*words, "--loss", "brier", "--smallest", "0.01"])
        said = capsys.readouterr().out.splitlines()
        assert said[0].startswith("v1: 200 records, mean brier loss 0.3")
        assert said[-1] == "v2 is better"
    with pytest.raises(ProjectError, match="--loss squared: expected one of brier"):
        experiment.main([*words, "--loss", "squared", "--smallest", "0.01"])
    words[1] = str(tmp_path / "nothing.csv")
    with pytest.raises(ProjectError, match=r"nothing\.csv"):
        experiment.main([*words, "--loss", "quantile:0.9", "--smallest", "0.01"])


def test_several_records_of_a_request_are_told_apart() -> None:
    schema = {"variant": pl.String, "inference_id": pl.String, "position": pl.Int64}
    rows = pl.DataFrame([("v1", "a", 0), ("v1", "a", 1), ("v1", "b", 0)], schema, orient="row")
    labels = pl.DataFrame({"inference_id": ["a", "a"], "position": [1, 0], "y": [7, None]})
    assert labelled(rows, labels, "y").rows() == [("v1", "a", 1, 7.0)]
    with pytest.raises(ProjectError, match="has several labels"):
        labelled(rows, labels.drop("position"), "y")
    with pytest.raises(ProjectError, match="add a column position, from 0"):
        labelled(rows, pl.DataFrame({"inference_id": ["a", "b"], "y": [7, 8]}), "y")
    with pytest.raises(ProjectError, match="labels: no column z"):
        labelled(rows, labels, "z")


def test_what_is_no_capture_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no captured prediction"):
        captured(tmp_path / "nowhere", "score")
    stray = folder / "notes.jsonl"
    stray.write_text("{}", encoding="utf-8")
    assert captured(folder, "score").height > 0
    stray.unlink()
    with pytest.raises(ProjectError, match="no captured prediction: copy captured/VERSIONS/ENDP"):
        captured(folder.parent, "score")
    with pytest.raises(ProjectError, match=r"1\.jsonl, line 1: not a captured answer with x"):
        captured(folder, "x")


@pytest.mark.parametrize(
    ("answer", "field"),
    [("score,late\r\n0.25,0\r\n0.5,1\r\n", "score"), ("0.25,0\r\n0.5,1\r\n", "0")],
)
def test_answers_in_csv_are_read_with_and_without_a_header(
    answer: str, field: str, tmp_path: Path
) -> None:
    hour = tmp_path / "delays" / "v1" / "2026" / "11" / "25" / "20"
    hour.mkdir(parents=True)
    output = {"observedContentType": "text/csv", "data": answer, "encoding": "CSV"}
    line = {"captureData": {"endpointOutput": output}, "eventMetadata": {"eventId": "a"}}
    (hour / "1.jsonl").write_text(json.dumps(line), encoding="utf-8")
    found = captured(tmp_path / "delays", field)
    assert found["prediction"].to_list() == [0.25, 0.5]
    with pytest.raises(ProjectError, match="not a captured answer with 7"):
        captured(tmp_path / "delays", "7")
