"""What the pipeline on SageMaker is: process, train, evaluate, a model that waits for approval."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
from sagemaker.core import shapes
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.local import LocalSession
from sagemaker.core.processing import Processor
from sagemaker.core.training.configs import (
    CheckpointConfig,
    Compute,
    InputData,
    OutputDataConfig,
    StoppingCondition,
)
from sagemaker.core.workflow.conditions import ConditionEquals
from sagemaker.core.workflow.execution_variables import ExecutionVariables
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

from ..config import WINDOWS
from .image import Images
from .registry import registration
from .settings import Settings

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
        failure_reason_types=[SageMakerJobExceptionTypeEnum.CAPACITY_ERROR],
        interval_seconds=120,
        backoff_rate=2.0,
        expire_after_mins=240,
    ),
]


class Registration(ConfigurableRetryStep):  # type: ignore[misc]
    """Registers a model by the request of `registry.registration`.

    The SDK's own step takes a model of its `ModelBuilder` alone.
    """

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


def pipeline(
    settings: Settings,
    session: PipelineSession,
    images: Images,
    commit: str,
) -> Pipeline:
    """Describe the pipeline; nothing is asked of AWS.

    Parameters
    ----------
    settings : Settings
    session : PipelineSession
        One that runs the steps here cannot register a model: that step is left out.
    images : Images
        By digest; with one for Spark, the data are processed there.
    commit : str
        What the images were made from.

    Returns
    -------
    Pipeline
    """
    home = settings.home
    local = isinstance(session, LocalSession)
    data, version = ParameterString("Data"), ParameterString("DataVersion")
    hosts = ParameterInteger("ProcessHosts", default_value=settings.jobs.process_hosts)
    days = settings.jobs.cache_days
    cache = CacheConfig(enable_caching=days > 0, expire_after=f"P{max(days, 1)}D")
    lineage = {"git_commit": commit, "source": data, "source_version": version}
    preparing = images.spark or images.train
    run = Join(on="/", values=[home, "runs", ExecutionVariables.PIPELINE_EXECUTION_ID])
    # A step is found again by its arguments: what it writes to has to follow from what it is given.
    # Spark names its files by chance: in one place, those of two runs would add up.
    made_of = [data, version, hosts.to_string()]
    windows = run
    if not images.spark:
        windows = Join(on="/", values=[home, "windows", preparing[-12:], *made_of])
    command = ["process-spark" if images.spark else "process"]
    process = ProcessingStep(
        "Process",
        step_args=processor(settings, session, preparing, command, lineage, hosts).run(
            # The end is a folder, else `jan` would be `january` as well.
            inputs=[job_input("source", Join(on="/", values=[home, "source", data, ""]), "source")],
            outputs=[
                *(
                    job_output(name, Join(on="/", values=[windows, name]), f"data/processed/{name}")
                    for name in WINDOWS
                ),
                # What breaks the contract is there even if it stops the job.
                job_output(
                    "raw",
                    Join(on="/", values=[windows, "raw"]),
                    "data/raw",
                    "EndOfJob" if local else "Continuous",
                ),
            ],
        ),
        cache_config=None if images.spark else cache,
        retry_policies=PATIENT,
    )
    made = process.properties.ProcessingOutputConfig.Outputs
    channels = {name: made[name].S3Output.S3Uri for name in WINDOWS}
    train = TrainingStep(
        "Train",
        step_args=trainer(
            settings,
            session,
            images.train,
            channels,
            # SageMaker brings all that lies here into the job: only what it could go on from.
            Join(on="/", values=[home, "checkpoints", images.train[-12:], *made_of]),
            tags=[shapes.Tag(key=key, value=value) for key, value in lineage.items()],
        ).train(),
        cache_config=cache,
        retry_policies=PATIENT,
    )
    artifact = train.properties.ModelArtifacts.S3ModelArtifacts
    verdict = PropertyFile("Metrics", output_name="reports", path="metrics.json")
    # Not cached: the model in production may be another one today.
    judge = processor(settings, session, images.train, ["evaluate", "--verdict"], lineage)
    evaluate = ProcessingStep(
        "Evaluate",
        step_args=judge.run(
            inputs=[
                *(job_input(name, uri, f"data/processed/{name}") for name, uri in channels.items()),
                job_input("model", artifact, "models"),
                job_input("production", f"{home}/production", "production"),
            ],
            outputs=[job_output("reports", Join(on="/", values=[run, "reports"]), "reports")],
        ),
        property_files=[verdict],
        retry_policies=PATIENT,
    )

    def said(key: str) -> JsonGet:
        return JsonGet(step_name=evaluate.name, property_file=verdict, json_path=f"gate.{key}")

    reports = evaluate.properties.ProcessingOutputConfig.Outputs["reports"].S3Output.S3Uri
    metrics = Join(on="/", values=[reports, "metrics.json"])
    request = registration(settings.name, images.serve, artifact, metrics)
    properties = lineage | {"run": run}
    register = Registration("Register", request | {"CustomerMetadataProperties": properties})
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
        if_steps=[] if local else [register],
        else_steps=[refuse],
    )
    return Pipeline(
        name=settings.name,
        parameters=[data, version, hosts],
        steps=[process, train, evaluate, decide],
        pipeline_experiment_config=None,
        sagemaker_session=session,
    )


def definition(settings: Settings, images: Images, commit: str) -> dict[str, Any]:
    """Return the pipeline as SageMaker keeps it."""
    region = boto3.Session(region_name=settings.region)
    session = PipelineSession(boto_session=region, default_bucket=settings.bucket)
    found: dict[str, Any] = json.loads(pipeline(settings, session, images, commit).definition())
    return found


def processor(
    settings: Settings,
    session: Session,
    image: str,
    command: list[str],
    lineage: Mapping[str, Any] | None = None,
    hosts: Any = 1,
) -> Processor:
    """Describe a processing job, but for what it reads and writes.

    Parameters
    ----------
    settings : Settings
    session : Session
    image : str
    command : list of str
        What runs in the image.
    lineage : mapping, optional
        What the job is marked with.
    hosts : int or ParameterInteger
        How many share the work.

    Returns
    -------
    Processor
    """
    return Processor(
        role=settings.roles.need("job"),
        image_uri=image,
        instance_count=hosts,
        instance_type=settings.jobs.type,
        entrypoint=command,
        volume_size_in_gb=settings.jobs.volume_gb,
        max_runtime_in_seconds=60 * settings.jobs.maximum_minutes,
        base_job_name=f"{settings.name}-{command[0]}",
        tags=[{"Key": key, "Value": value} for key, value in (lineage or {}).items()],
        sagemaker_session=session,
    )


def trainer(
    settings: Settings,
    session: Session | None,
    image: str,
    channels: Mapping[str, Any],
    checkpoints: Any,
    **further: Any,
) -> ModelTrainer:
    """Describe a training job.

    Parameters
    ----------
    settings : Settings
    session : Session, optional
        Not needed on this machine.
    image : str
    channels : mapping
        Where the windows lie; the one that tests the model is left out.
    checkpoints : str or pipeline variable
        Where the job keeps how far it has come.
    **further
        Of `ModelTrainer`; hyperparameters are keys of `conf/`.

    Returns
    -------
    ModelTrainer
    """
    jobs = settings.jobs
    limit = 60 * jobs.maximum_minutes
    return ModelTrainer(
        training_image=image,
        role=settings.roles.need("job"),
        sagemaker_session=session,
        base_job_name=f"{settings.name}-train",
        compute=Compute(
            instance_type=jobs.type,
            instance_count=1,
            volume_size_in_gb=jobs.volume_gb,
            enable_managed_spot_training=jobs.train_on_spot,
        ),
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=limit,
            max_wait_time_in_seconds=2 * limit if jobs.train_on_spot else None,
        ),
        checkpoint_config=CheckpointConfig(s3_uri=checkpoints),
        output_data_config=OutputDataConfig(s3_output_path=f"{settings.home}/trained"),
        input_data_config=[
            InputData(channel_name=name, data_source=channels[name]) for name in WINDOWS[:2]
        ],
        **further,
    )


def job_input(name: str, uri: Any, folder: str) -> shapes.ProcessingInput:
    """Describe an input of a processing job, and the folder where it finds it."""
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


def job_output(name: str, uri: Any, folder: str, mode: str = "EndOfJob") -> shapes.ProcessingOutput:
    """Describe an output of a processing job, and the folder where it leaves it."""
    return shapes.ProcessingOutput(
        output_name=name,
        s3_output=shapes.ProcessingS3Output(
            s3_uri=uri, local_path=f"{FOLDER}/{folder}", s3_upload_mode=mode
        ),
    )
