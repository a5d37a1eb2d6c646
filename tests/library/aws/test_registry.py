"""The registry, against AWS as moto plays it."""

import io
import json
import tarfile
import zlib

import pytest
from account import (
    BUCKET,
    IMAGE,
    MODEL,
    NAME,
    REGION,
    TYPED,
    Results,
    asked,
    in_production,
    judged,
    moto,
    register,
)
from deployable import write_project
from ml_ready import artifact
from ml_ready.aws import registry
from ml_ready.aws.client import Aws
from ml_ready.aws.endpoint import Endpoint
from ml_ready.aws.registry import Registry
from ml_ready.errors import ModelError, ProjectError


def test_a_version_is_registered_once_and_waits_for_approval(
    aws: Aws, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Registry(aws).register(IMAGE, *results)
    assert Registry(aws).register(IMAGE, *results) == first
    (version,) = Registry(aws).versions()
    assert version.status == "PendingManualApproval"
    assert "It is version 1 already" in capsys.readouterr().out
    described = aws.read("sagemaker", "describe_model_package", ModelPackageName=first)
    assert described["CustomerMetadataProperties"]["git_commit"] == "abc"
    with pytest.raises(
        ProjectError, match="in eu-central-1: expected an approved version, got 1 Pending"
    ):
        Endpoint(aws).deploy()
    Registry(aws).judge(1, "Approved", "good")
    Registry(aws).judge(1, "Approved", "good")
    assert "Version 1 is Approved already" in capsys.readouterr().out
    Registry(aws).judge(1, "Rejected", "bad")
    with pytest.raises(ProjectError, match="expected version 1, approved, got 1 Rejected"):
        Endpoint(aws).deploy({1: 1})


def test_what_cannot_be_registered_is_named(aws: Aws, results: Results) -> None:
    for name in ("model:latest", "model@sha256:1"):
        with pytest.raises(ProjectError, match=f"{name}: expected an image by digest"):
            Registry(aws).register(name, *results)
    judged(results[1], good=False)
    with pytest.raises(ProjectError, match=r"the gate stopped this model: test: 0.5 < 0.6"):
        Registry(aws).register(IMAGE, *results)
    judged(results[1], good=True)
    known = artifact.read_metadata(results[0])
    del known["model"]
    artifact.write_model(results[0], MODEL + b" ", known)
    with pytest.raises(
        ProjectError, match="was computed for a different model than .*: run `poe pipeline`"
    ):
        Registry(aws).register(IMAGE, *results)
    artifact.write_model(results[0], MODEL, known)
    for name in ("index.html", "metrics.json"):
        (results[1] / name).unlink()
        with pytest.raises(ProjectError, match=f"{name}: no such file"):
            Registry(aws).register(IMAGE, *results)
    assert Registry(aws).versions() == []


def test_a_model_that_nobody_knows_the_origin_of_is_not_registered(
    aws: Aws, results: Results
) -> None:
    known = artifact.read_metadata(results[0])
    del known["data_sha256"]
    artifact.write_model(results[0], MODEL, known)
    with pytest.raises(ModelError, match=r"metadata\.json: has no data_sha256, which a version in"):
        Registry(aws).register(IMAGE, *results)
    assert asked("put_object") == []


def test_a_version_that_is_not_there_is_not_to_be_approved(aws: Aws, results: Results) -> None:
    register(aws, results)
    with pytest.raises(
        ProjectError, match="expected version 7, approved, got 1 Approved: choose o"
    ):
        Registry(aws).promote(7)


def test_a_model_is_packed_to_the_same_bytes(results: Results) -> None:
    assert registry.pack(results[0]) == registry.pack(results[0])


def test_the_file_that_the_metadata_name_is_packed(aws: Aws, results: Results) -> None:
    file = results[0] / artifact.METADATA_FILE
    metadata = json.loads(file.read_text("utf-8"))
    metadata["model"]["file"] = "model.bin"
    file.write_text(json.dumps(metadata), encoding="utf-8")
    (results[0] / artifact.MODEL_FILE).rename(results[0] / "model.bin")
    Registry(aws).register(IMAGE, *results)
    with tarfile.open(fileobj=io.BytesIO(registry.pack(results[0]))) as packed:
        assert packed.getnames() == [artifact.METADATA_FILE, "model.bin"]


def test_a_damaged_model_in_production_is_put_there_again(aws: Aws, results: Results) -> None:
    register(aws, results)
    for _ in range(2):
        Registry(aws).promote(1)
    (copied,) = asked("copy_object")
    place = {"Bucket": BUCKET, "Key": copied["Key"]}
    moto("s3").put_object(**place, Body=b"cut off", Metadata=copied["Metadata"])
    registry.main(["promote", "1", *TYPED])
    assert in_production(aws) == 1


def test_a_version_is_registered_and_approved_by_command(
    aws: Aws,
    results: Results,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_project(results[0].parent)
    monkeypatch.chdir(results[0].parent)
    registry.main(["list", *TYPED])
    assert capsys.readouterr().out == f"no version of {NAME} in {REGION}\n"
    registry.main(["register", IMAGE, *TYPED])
    registry.main(["approve", "1", "--note", "good", *TYPED])
    (approved,) = asked("update_model_package")
    assert approved["ApprovalDescription"] == "good"
    capsys.readouterr()
    registry.main(["list", *TYPED])
    number, state, *_, folder = capsys.readouterr().out.split()
    assert (number, state) == ("1", "Approved")
    uploaded = {f"s3://{BUCKET}/{parameters['Key']}" for parameters in asked("put_object")}
    assert {f"{folder}/index.html", f"{folder}/metrics.json"} <= uploaded
    registry.main(["promote", "1", *TYPED])
    assert in_production(aws) == 1


def test_a_report_of_version_0_1_0_is_read(aws: Aws, results: Results) -> None:
    metrics = {"gate": {"good": True, "failed": ""}, "model_crc32": zlib.crc32(MODEL)}
    (results[1] / artifact.METRICS_FILE).write_text(json.dumps(metrics), encoding="utf-8")
    Registry(aws).register(IMAGE, *results)
    assert [each.number for each in Registry(aws).versions()] == [1]


def test_a_model_that_its_metadata_do_not_describe_is_not_registered(
    aws: Aws, results: Results
) -> None:
    (results[0] / artifact.MODEL_FILE).write_bytes(b"another")
    model = {"format": "onnx", "file": artifact.MODEL_FILE, "crc32": zlib.crc32(b"another")}
    artifact.write_metrics(results[1], {"gate": {"good": True, "failed": ""}}, model)
    with pytest.raises(ModelError, match=r"does not match metadata\.json"):
        Registry(aws).register(IMAGE, *results)
    assert Registry(aws).versions() == []
