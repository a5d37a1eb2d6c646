"""A/B: losses, intervals, sample sizes, and what SageMaker captures."""

import base64
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ml_ready.aws import experiment
from ml_ready.aws.experiment import (
    captured,
    compare,
    labelled,
)
from ml_ready.errors import ProjectError

REQUESTS = 1000  # of each variant
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
        (-0.02, 0.01, "no difference that matters: it is below 0.1"),
        (0.05, 1.0, "no difference is shown: to look for one below 0.1, start a new experiment"),
        (0.0, 5.0, "undecided: wait for"),
        (-5.0, 5.0, "undecided: wait for"),
    ],
)
def test_the_verdict_follows_the_interval(shift: float, spread: float, verdict: str) -> None:
    draw = np.random.default_rng(0)
    old, new = draw.normal(1, spread, 2000), draw.normal(1, spread, 2000)
    new += shift - (new.mean() - old.mean())
    result = compare(old, new, 0.1, variants=("v1", "v2"))
    assert result.verdict.startswith(verdict)
    assert result.low <= result.effect <= result.high
    assert result.effect == pytest.approx(shift)
    assert result.size == pytest.approx(shift / spread, rel=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(1)
    held = 0
    for _ in range(1000):
        result = compare(draw.exponential(1, 200), draw.exponential(1.5, 100), 0.1)
        held += result.low <= 0.5 <= result.high
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


def test_few_records_of_a_rare_class_decide_nothing() -> None:
    draw = np.random.default_rng(4)
    loss = np.where(draw.random((300, 330)) < 0.02, 4.0, 0.02)
    verdicts = [compare(each[:30], each[30:], 1.0).verdict for each in loss]
    assert all(verdict.startswith("undecided: wait for ") for verdict in verdicts)


def test_equal_losses_are_no_difference() -> None:
    result = compare(np.ones(50), np.ones(50), 0.1)
    assert (result.effect, result.size) == (0, 0)


@pytest.mark.parametrize(
    ("records", "smallest", "message"),
    [
        (29, 0.1, "old: 29 requests with a label, expected at least 30"),
        (30, 0, "smallest effect 0: expected a number above 0"),
        (30, np.inf, "smallest effect inf: expected a number above 0"),
    ],
)
def test_what_shows_nothing_is_refused(records: int, smallest: float, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        compare(np.arange(records), np.arange(50), smallest)
    with pytest.raises(ProjectError, match="confidence 95: expected a number between 0 and 1"):
        compare(np.arange(50), np.arange(50), 0.1, confidence=95)
    with pytest.raises(ProjectError, match="power 80: expected a number between 0 and 1"):
        compare(np.arange(50), np.arange(50), 0.1, power=80)


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
            for n, value in enumerate(draw.uniform(0, 1 if variant == "v1" else 0.2, REQUESTS))
        ]
        (hour / "1.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return endpoint


def test_captured_answers_and_labels_become_a_verdict(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = [f"{variant}-{n}" for variant in ("v1", "v2") for n in range(REQUESTS)]
    labels = pl.DataFrame({"inference_id": keys, "late": [0] * len(keys)})
    for suffix in (".csv", ".parquet"):
        path = tmp_path / f"labels{suffix}"
        labels.write_csv(path) if suffix == ".csv" else labels.write_parquet(path)
        words = [str(folder), str(path), "v1", "v2", "--prediction", "score", "--label", "late"]
        experiment.main([*words, "--loss", "brier", "--smallest", "0.1"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("v1: 1000 requests, mean brier loss 0.3")
        assert lines[-1] == "v2 is better"
    for loss in ("squared", "quantile:7", "quantile:nan"):
        with pytest.raises(ProjectError, match=f"--loss {loss}: expected one of brier"):
            experiment.main([*words, "--loss", loss, "--smallest", "0.1"])
    for variants in (("v1", "V2"), ("v1", "v1")):
        typed = [*words[:2], *variants, *words[4:], "--loss", "brier", "--smallest", "0.1"]
        with pytest.raises(ProjectError, match=f"{', '.join(variants)}: expected two of v"):
            experiment.main(typed)
    labels.with_columns(late=7).write_csv(tmp_path / "labels.csv")
    words[1] = str(tmp_path / "labels.csv")
    with pytest.raises(ProjectError, match="--loss brier: expected labels 0 and 1 in late"):
        experiment.main([*words, "--loss", "brier", "--smallest", "0.1"])
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
    named = pl.DataFrame({"inference_id": ["a", "b"], "position": [0, 0], "y": ["yes", "no"]})
    with pytest.raises(ProjectError, match="labels: expected numbers in position, y: "):
        labelled(rows, named, "y")
    unknown = pl.DataFrame({"inference_id": ["a"], "position": [0.0], "y": [np.nan]})
    assert labelled(rows, unknown, "y").height == 0
    endless = pl.DataFrame({"inference_id": ["b"], "position": [0], "y": [-np.inf]})
    with pytest.raises(ProjectError, match="labels: y of b is infinite, expected a finite number"):
        labelled(rows, endless, "y")


def test_records_of_a_request_count_as_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hour = tmp_path / "delays" / "v1" / "2026" / "11" / "25" / "20"
    hour.mkdir(parents=True)
    lines = [event([{"score": 0.5}] * 25, f"0{n}", "application/json") for n in range(40)]
    for variant in ("v1", "v2"):
        hour = tmp_path / "delays" / variant / "2026" / "11" / "25" / "20"
        hour.mkdir(parents=True, exist_ok=True)
        text = "\n".join(line.replace('"0', f'"0{variant[1]}') for line in lines)
        # The same answers in two files are the same.
        (hour / "1.jsonl").write_text(text, encoding="utf-8")
        (hour / "2.jsonl").write_text(text, encoding="utf-8")
    keys = [f"0{variant}{n}" for variant in (1, 2) for n in range(40)]
    rows = [(key, position, 0) for key in keys for position in range(25)]
    labels = pl.DataFrame(rows, ["inference_id", "position", "late"], orient="row")
    labels.write_csv(tmp_path / "labels.csv")
    words = [str(tmp_path / "delays"), str(tmp_path / "labels.csv"), "v1", "v2"]
    words += ["--prediction", "score", "--label", "late", "--loss", "brier", "--smallest", "0.1"]
    experiment.main(words)
    assert capsys.readouterr().out.startswith("v1: 40 requests, mean brier loss 0.25\n")


def test_shares_that_change_within_an_experiment_are_found() -> None:
    def hours(*shares: float) -> pl.DataFrame:
        draw = np.random.default_rng(5)
        rows = [
            ("new" if draw.random() < share else "old", str(hour), f"{hour}-{n}")
            for hour, share in enumerate(shares)
            for n in range(2000)
        ]
        return pl.DataFrame(rows, ["variant", "hour", "inference_id"], orient="row")

    experiment.require_same_shares(hours(0.1))
    experiment.require_same_shares(hours(0.1, 0.1, 0.1))
    # Of so many hours with a request or two, many have none of the rarer variant.
    draw = np.random.default_rng(6)
    for _ in range(200):
        variants = np.where(draw.random(300) < 0.1, "new", "old")
        keys = [f"{n}" for n in range(300)]
        times = [f"{n // 2:03}" for n in range(300)]
        rare = pl.DataFrame({"variant": variants, "hour": times, "inference_id": keys})
        experiment.require_same_shares(rare)
    with pytest.raises(ProjectError, match="the shares of the variants differ"):
        experiment.require_same_shares(hours(0.1, 0.1, 0.5))


@pytest.mark.parametrize("hours", [(2, 1000, 1000), (1000, 2, 1000), (1000, 1000, 2)])
def test_an_hour_with_few_requests_beside_busy_ones_changes_no_share(
    hours: tuple[int, ...],
) -> None:
    rows = [
        ("new" if n == 0 or (size > 2 and n < 10) else "old", str(hour), f"{hour}-{n}")
        for hour, size in enumerate(hours)
        for n in range(size)
    ]
    answered = pl.DataFrame(rows, ["variant", "hour", "inference_id"], orient="row")
    experiment.require_same_shares(answered)


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
    for line in (b"\xff", b"[]", b'{"captureData": [], "eventMetadata": []}'):
        next(folder.glob("*/*/*/*/*/*.jsonl")).write_bytes(line)
        with pytest.raises(ProjectError, match=r"1\.jsonl, line 1: not a captured answer"):
            captured(folder, "score")


def test_an_event_without_an_answer_is_left_out_aloud(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(folder.glob("*/*/*/*/*/*.jsonl"))
    lines = path.read_text(encoding="utf-8").splitlines()
    refused = json.loads(lines[0])
    del refused["captureData"]["endpointOutput"]
    path.write_text("\n".join([json.dumps(refused), *lines[1:]]), encoding="utf-8")
    assert captured(folder, "score").height == 2 * REQUESTS - 1
    assert capsys.readouterr().out == "1 captured events without an answer are left out\n"
    # One that exists and cannot be read is no such event.
    refused["captureData"]["endpointOutput"] = None
    path.write_text(json.dumps(refused), encoding="utf-8")
    with pytest.raises(ProjectError, match=r"1\.jsonl, line 1: not a captured answer with score"):
        captured(folder, "score")


@pytest.mark.parametrize("separator", ["\u2028", "\u0085"])
def test_a_line_ends_at_a_newline_alone(folder: Path, separator: str) -> None:
    path = next(folder.glob("*/*/*/*/*/*.jsonl"))
    line = json.loads(path.read_text(encoding="utf-8").splitlines()[0])
    line["captureData"]["endpointInput"] = {"data": f"a{separator}b"}
    answer = json.dumps({"score": 0.25, "of": f"a{separator}b"}, ensure_ascii=False)
    line["captureData"]["endpointOutput"] |= {
        "data": f"{answer}\n",
        "encoding": "JSON",
        "observedContentType": "application/jsonlines",
    }
    path.write_text(json.dumps(line, ensure_ascii=False), encoding="utf-8")
    predictions = captured(folder, "score").filter(variant=path.parents[4].name)
    assert predictions["prediction"].to_list() == [0.25]


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
    predictions = captured(tmp_path / "delays", field)
    assert predictions["prediction"].to_list() == [0.25, 0.5]
    with pytest.raises(ProjectError, match="not a captured answer with 7"):
        captured(tmp_path / "delays", "7")
    output["data"] = "0" * (csv.field_size_limit() + 1)
    (hour / "1.jsonl").write_text(json.dumps(line), encoding="utf-8")
    with pytest.raises(ProjectError, match=r"not a captured answer with 0 .*field larger"):
        captured(tmp_path / "delays", "0")
