"""Batch transform, against AWS as moto plays it."""

import pytest
from account import ACCOUNT, BUCKET, NAME, REGION, TYPED, Results, asked, moto, register
from ml_ready.aws import endpoint, transform
from ml_ready.aws.client import Aws
from ml_ready.errors import ProjectError
from moto.sagemaker.models import sagemaker_backends


def test_a_file_is_scored_once_and_again_when_it_has_changed(aws: Aws, results: Results) -> None:
    register(aws, results)
    home = f"s3://{BUCKET}/{NAME}/transform"
    source, target = f"{home}/in.jsonl", f"{home}/out"
    for wrong in ((f"s3://{BUCKET}/in.jsonl", target), (source, f"s3://{BUCKET}/out")):
        with pytest.raises(ProjectError, match=f"no access, expected one below {home}/"):
            transform.transform(aws, None, *wrong)
    with pytest.raises(ProjectError, match=r"in\.parquet: expected a file \.jsonl or \.csv"):
        transform.transform(aws, None, f"{home}/in.parquet", target)
    with pytest.raises(ProjectError, match=r"in\.jsonl: no such file"):
        transform.transform(aws, None, source, target)
    for body, jobs in ((b"1", 1), (b"1", 1), (b"2", 2)):
        key = f"{NAME}/transform/in.jsonl"
        aws.change("s3", "put_object", Bucket=BUCKET, Key=key, Body=body)
        transform.transform(aws, None, source, target)
        assert len(asked("create_transform_job")) == jobs
    with pytest.raises(ProjectError, match="holds the source: give another folder"):
        transform.transform(aws, None, source, f"{home}/")
    key = f"{NAME}/transform/in.jsonl.bak"
    moto("s3").put_object(Bucket=BUCKET, Key=key, Body=b"1")
    with pytest.raises(ProjectError, match=r"in\.jsonl\.bak begins with the same name"):
        transform.transform(aws, None, source, target)
    moto("s3").delete_object(Bucket=BUCKET, Key=key)
    *_, second = sagemaker_backends[ACCOUNT][REGION].transform_jobs.values()
    second.transform_job_status = "Failed"
    transform.transform(aws, None, source, target)
    assert len(asked("create_transform_job")) == 3


@pytest.mark.parametrize(
    "header", [b"\r\ncarrier,dest", b'"carrier","dest"', b"\xef\xbb\xbfcarrier", b",carrier"]
)
def test_a_csv_file_with_a_header_is_not_scored(aws: Aws, results: Results, header: bytes) -> None:
    register(aws, results)
    home = f"s3://{BUCKET}/{NAME}/transform"
    place = {"Bucket": BUCKET, "Key": f"{NAME}/transform/in.csv"}
    moto("s3").put_object(**place, Body=header + b"\r\nAA,12\r\n" * 10_000)
    with pytest.raises(ProjectError, match=r"in\.csv: the first line is a header, ,?carrier"):
        transform.transform(aws, None, f"{home}/in.csv", f"{home}/out")
    assert asked("create_transform_job") == []
    for number, words in enumerate((b"2013-07-04T17:00:00,AA,,LAX", b"AA,LAX"), 1):
        moto("s3").put_object(**place, Body=words + b"\r\nAB,LAX")
        transform.transform(aws, None, f"{home}/in.csv", f"{home}/out")
        assert len(asked("create_transform_job")) == number


def test_a_csv_file_is_scored_by_command(aws: Aws, results: Results) -> None:
    register(aws, results, "ab")
    aws.change("s3", "put_object", Bucket=BUCKET, Key=f"{NAME}/transform/in.csv", Body=b"1")
    source, target = (f"s3://{BUCKET}/{NAME}/transform/{each}" for each in ("in.csv", "out"))
    endpoint.main(["transform", source, target, "--version", "1", *TYPED])
    (job,) = asked("create_transform_job")
    assert job["TransformInput"]["ContentType"] == "text/csv"
    assert "-v1-" in job["ModelName"]
