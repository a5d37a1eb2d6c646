"""What the pipeline on SageMaker is: process, train, evaluate, a model that waits for approval."""

import json
from typing import Any

import boto3
from sagemaker.core import shapes
from sagemaker.core.processing import Processor
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.core.workflow.functions import Join, JsonGet
from sagemaker.core.workflow.parameters import ParameterInteger, ParameterString
from sagemaker.core.workflow.pipeline_context import PipelineSession
from sagemaker.core.workflow.properties import Properties, PropertyFile
from sagemaker.mlops.workflow.condition_step import ConditionStep
from sagemaker.mlops.workflow.fail_step import FailStep
from sagemaker.mlops.workflow.pipeline import Pipeline
from sagemaker.mlops.workflow.retry import (
    SageMakerJobExceptionTypeEnum,
    SageMakerJobStepRetryPolicy,
    StepExceptionTypeEnum,
    StepRetryPolicy,
)
from sagemaker.mlops.workflow.steps import (
    CacheConfig,
    ConfigurableRetryStep,
    ProcessingStep,
    StepTypeEnum,
    TrainingStep,
)
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import (
    CheckpointConfig,
    Compute,
    InputData,
    OutputDataConfig,
    StoppingCondition,
)

from .registry import TYPES
from .settings import Settings

WINDOWS = ("train", "validation", "test")
FOLDER = "/opt/ml/processing"
# What AWS may be short of for a moment.
PATIENT = [
    StepRetryPolicy(
        exception_types=[StepExceptionTypeEnum.SERVICE_FAULT, StepExceptionTypeEnum.THROTTLING],
        interval_seconds=30,
        backoff_rate=2.0,
        max_attempts=5,
    ),
    SageMakerJobStepRetryPolicy(
        exception_types=[SageMakerJobExceptionTypeEnum.INTERNAL_ERROR],
        failure_reason_types=[
            SageMakerJobExceptionTypeEnum.CAPACITY_ERROR,
            SageMakerJobExceptionTypeEnum.RESOURCE_LIMIT,
        ],
        interval_seconds=120,
        backoff_rate=2.0,
        expire_after_mins=240,
    ),
]


class Registration(ConfigurableRetryStep):  # type: ignore[misc]
    """Registers a model, as `registry.register` does; the SDK has a step for its builder alone."""

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        super().__init__(name, StepTypeEnum.REGISTER_MODEL, retry_policies=PATIENT[:1])
        self._request = request
        self._properties = Properties(name, step=self, shape_name="DescribeModelPackageOutput")

    @property
    def arguments(self) -> dict[str, Any]:
        """The call to `CreateModelPackage`."""
        return self._request

    @property
    def properties(self) -> Properties:
        """What later steps can refer to."""
        return self._properties


def pipeline(settings: Settings, train_image: str, serve_image: str) -> Pipeline:
    """Describe the pipeline; nothing is asked of AWS.

    Parameters
    ----------
    settings : Settings
    train_image, serve_image : str
        By digest.

    Returns
    -------
    Pipeline
    """
    region = boto3.Session(region_name=settings.region)
    session = PipelineSession(boto_session=region, default_bucket=settings.bucket)
    jobs, home = settings.jobs, f"s3://{settings.bucket}/{settings.name}"
    source = ParameterString("Source", default_value=f"{home}/source")
    production = ParameterString("Production", default_value=f"{home}/production")
    hosts = ParameterInteger("ProcessHosts", default_value=jobs.process_hosts)
    seed = ParameterString("Seed", default_value="2013")
    execution = Join(on="/", values=[f"{home}/runs", _execution()])
    cache = CacheConfig(enable_caching=jobs.cache_days > 0, expire_after=f"P{jobs.cache_days}D")

    def job(command: list[str], count: Any = 1) -> Processor:
        return Processor(
            role=settings.role,
            image_uri=train_image,
            instance_count=count,
            instance_type=jobs.type,
            entrypoint=command,
            volume_size_in_gb=jobs.volume_gb,
            max_runtime_in_seconds=60 * jobs.maximum_minutes,
            base_job_name=f"{settings.name}-{command[0]}",
            sagemaker_session=session,
        )

    process = ProcessingStep(
        "Process",
        step_args=job(["process"], hosts).run(
            inputs=[_given("source", source, "source")],
            outputs=[
                _kept(name, Join(on="/", values=[execution, name]), f"data/processed/{name}")
                for name in WINDOWS
            ],
        ),
        cache_config=cache,
        retry_policies=PATIENT,
    )
    made = process.properties.ProcessingOutputConfig.Outputs
    trainer = ModelTrainer(
        training_image=train_image,
        role=settings.role,
        sagemaker_session=session,
        base_job_name=f"{settings.name}-train",
        compute=Compute(
            instance_type=jobs.type,
            instance_count=1,
            volume_size_in_gb=jobs.volume_gb,
            enable_managed_spot_training=jobs.train_on_spot,
        ),
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=60 * jobs.maximum_minutes,
            max_wait_time_in_seconds=120 * jobs.maximum_minutes if jobs.train_on_spot else None,
        ),
        checkpoint_config=CheckpointConfig(s3_uri=f"{home}/checkpoints"),
        output_data_config=OutputDataConfig(s3_output_path=f"{home}/trained"),
        hyperparameters={"seed": seed},
        input_data_config=[
            InputData(channel_name=name, data_source=made[name].S3Output.S3Uri)
            for name in WINDOWS[:2]
        ],
    )
    train = TrainingStep(
        "Train", step_args=trainer.train(), cache_config=cache, retry_policies=PATIENT
    )
    artifact = train.properties.ModelArtifacts.S3ModelArtifacts
    verdict = PropertyFile("Metrics", output_name="reports", path="metrics.json")
    evaluate = ProcessingStep(
        "Evaluate",
        step_args=job(["evaluate", "--verdict"]).run(
            inputs=[
                *(
                    _given(name, made[name].S3Output.S3Uri, f"data/processed/{name}")
                    for name in WINDOWS
                ),
                _given("model", artifact, "models"),
                _given("production", production, "production"),
            ],
            outputs=[_kept("reports", Join(on="/", values=[execution, "reports"]), "reports")],
        ),
        property_files=[verdict],
        cache_config=cache,
        retry_policies=PATIENT,
    )

    def said(key: str) -> JsonGet:
        return JsonGet(step_name=evaluate.name, property_file=verdict, json_path=f"gate.{key}")

    reports = evaluate.properties.ProcessingOutputConfig.Outputs["reports"].S3Output.S3Uri
    metrics = Join(on="/", values=[reports, "metrics.json"])
    register = Registration(
        "Register",
        {
            "ModelPackageGroupName": settings.name,
            "ModelApprovalStatus": "PendingManualApproval",
            "InferenceSpecification": {
                "Containers": [{"Image": serve_image, "ModelDataUrl": artifact}],
                "SupportedContentTypes": TYPES,
                "SupportedResponseMIMETypes": TYPES,
            },
            "ModelMetrics": {
                "ModelQuality": {
                    "Statistics": {"ContentType": "application/json", "S3Uri": metrics}
                }
            },
        },
    )
    refuse = FailStep(
        "NotGoodEnough",
        error_message=Join(on=" ", values=["The model is not registered:", said("failed")]),
    )
    decide = ConditionStep(
        "GoodEnough",
        conditions=[
            ConditionEquals(left=said("good"), right=True),
            ConditionEquals(left=said("not_worse_than_production"), right=True),
        ],
        if_steps=[register],
        else_steps=[refuse],
    )
    return Pipeline(
        name=settings.name,
        parameters=[source, production, hosts, seed],
        steps=[process, train, evaluate, decide],
        sagemaker_session=session,
    )


def definition(settings: Settings, train_image: str, serve_image: str) -> dict[str, Any]:
    """Return the pipeline as SageMaker keeps it."""
    found: dict[str, Any] = json.loads(pipeline(settings, train_image, serve_image).definition())
    return found


def _given(name: str, uri: Any, folder: str) -> shapes.ProcessingInput:
    return shapes.ProcessingInput(
        input_name=name,
        s3_input=shapes.ProcessingS3Input(
            s3_uri=uri,
            local_path=f"{FOLDER}/{folder}",
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
        ),
    )


def _kept(name: str, uri: Any, folder: str) -> shapes.ProcessingOutput:
    return shapes.ProcessingOutput(
        output_name=name,
        s3_output=shapes.ProcessingS3Output(
            s3_uri=uri, local_path=f"{FOLDER}/{folder}", s3_upload_mode="EndOfJob"
        ),
    )


def _execution() -> Any:
    from sagemaker.core.workflow.execution_variables import ExecutionVariables

    return ExecutionVariables.PIPELINE_EXECUTION_ID
