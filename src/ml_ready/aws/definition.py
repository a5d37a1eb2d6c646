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

from ..artifact import METRICS_FILE, WINDOWS
from .images import Images
from .registry import registration
from .settings import Settings

_FOLDER = "/opt/ml/processing"
# What AWS may be short of for a moment.
_RETRIES = [
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


class _Registration(ConfigurableRetryStep):  # type: ignore[misc]
    """Registers a model by the request of `registry.registration`.

    The SDK's own step takes a model of its `ModelBuilder` alone.
    """

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        super().__init__(name, StepTypeEnum.REGISTER_MODEL, retry_policies=_RETRIES[:1])
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
    """Describe the pipeline, without a call to AWS.

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

    Raises
    ------
    ConfigError
        When the role `job` is not set.
    """
    parts = _Parts(settings, session, images, commit)
    process = parts.process()
    produced = process.properties.ProcessingOutputConfig.Outputs
    channels = {name: produced[name].S3Output.S3Uri for name in WINDOWS}
    train = parts.train(channels)
    model = train.properties.ModelArtifacts.S3ModelArtifacts
    verdict = PropertyFile("Metrics", output_name="reports", path=METRICS_FILE)
    evaluate = parts.evaluate(channels, model, verdict)
    return Pipeline(
        name=settings.name,
        parameters=[parts.data, parts.version, parts.hosts],
        steps=[process, train, evaluate, parts.decide(evaluate, model, verdict)],
        pipeline_experiment_config=None,
        sagemaker_session=session,
    )


class _Parts:
    """The steps of the pipeline, and what they have in common."""

    def __init__(
        self, settings: Settings, session: PipelineSession, images: Images, commit: str
    ) -> None:
        self.settings, self.session, self.images = settings, session, images
        self.local = isinstance(session, LocalSession)
        self.data, self.version = ParameterString("Data"), ParameterString("DataVersion")
        self.hosts = ParameterInteger("ProcessHosts", default_value=settings.jobs.process_hosts)
        days = settings.jobs.cache_days
        self.cache = CacheConfig(enable_caching=days > 0, expire_after=f"P{max(days, 1)}D")
        self.lineage = {
            "git_commit": commit,
            "source": self.data,
            "source_version": self.version,
        }
        self.run = self._at("runs", ExecutionVariables.PIPELINE_EXECUTION_ID)
        # SageMaker recognizes a step by its arguments: where it writes has to follow from its
        # inputs.
        self.made_of = [self.data, self.version, self.hosts.to_string()]

    def process(self) -> ProcessingStep:
        """Turn source tables into windows."""
        spark = self.images.spark
        image = spark or self.images.train
        # Spark names its files by chance: in one place, those of two runs would add up.
        windows = self.run if spark else self._at("windows", image[-12:], *self.made_of)
        # Trailing slash: S3 prefixes match partial names.
        source = self._at("source", self.data, "")
        # Continuous: records that break the contract are kept even if they stop the job.
        mode = "EndOfJob" if self.local else "Continuous"
        outputs = [
            job_output(name, Join(on="/", values=[windows, name]), f"data/processed/{name}")
            for name in WINDOWS
        ]
        outputs.append(job_output("raw", Join(on="/", values=[windows, "raw"]), "data/raw", mode))
        command = ["process-spark" if spark else "process"]
        job = processor(self.settings, self.session, image, command, self.lineage, self.hosts)
        return ProcessingStep(
            "Process",
            step_args=job.run(inputs=[job_input("source", source, "source")], outputs=outputs),
            cache_config=None if spark else self.cache,
            retry_policies=_RETRIES,
        )

    def train(self, channels: Mapping[str, Any]) -> TrainingStep:
        """Train a model on windows."""
        image = self.images.train
        # SageMaker copies all that is here into the job: only what it could go on from.
        checkpoints = self._at("checkpoints", image[-12:], *self.made_of)
        tags = [shapes.Tag(key=key, value=value) for key, value in self.lineage.items()]
        job = trainer(self.settings, self.session, image, channels, checkpoints, tags=tags)
        return TrainingStep(
            "Train", step_args=job.train(), cache_config=self.cache, retry_policies=_RETRIES
        )

    def evaluate(
        self, channels: Mapping[str, Any], model: Any, verdict: PropertyFile
    ) -> ProcessingStep:
        """Judge a model; not cached, since the model in production may be another one today."""
        image, command = self.images.train, ["evaluate", "--verdict"]
        job = processor(self.settings, self.session, image, command, self.lineage)
        step_args = job.run(
            inputs=[
                *(job_input(name, uri, f"data/processed/{name}") for name, uri in channels.items()),
                job_input("model", model, "models"),
                job_input("production", f"{self.settings.home}/production", "production"),
            ],
            outputs=[job_output("reports", Join(on="/", values=[self.run, "reports"]), "reports")],
        )
        return ProcessingStep(
            "Evaluate", step_args=step_args, property_files=[verdict], retry_policies=_RETRIES
        )

    def decide(self, evaluate: ProcessingStep, model: Any, verdict: PropertyFile) -> ConditionStep:
        """Register a model that is good enough, and no worse than the one in production."""

        def gate(key: str) -> JsonGet:
            path = f"gate.{key}"
            return JsonGet(step_name=evaluate.name, property_file=verdict, json_path=path)

        outputs = evaluate.properties.ProcessingOutputConfig.Outputs
        metrics = Join(on="/", values=[outputs["reports"].S3Output.S3Uri, METRICS_FILE])
        request = registration(self.settings.name, self.images.serve, model, metrics)
        properties = self.lineage | {"run": self.run}
        register = _Registration("Register", request | {"CustomerMetadataProperties": properties})
        refuse = FailStep(
            "NotGoodEnough",
            error_message=Join(on=" ", values=["The model is not registered:", gate("failed")]),
        )
        return ConditionStep(
            "GoodEnough",
            conditions=[
                ConditionEquals(left=gate("good"), right=True),
                ConditionEquals(left=gate("not_worse_than_production"), right=True),
            ],
            if_steps=[] if self.local else [register],
            else_steps=[refuse],
        )

    def _at(self, *parts: Any) -> Join:
        """Return an address below what the project keeps in the bucket."""
        return Join(on="/", values=[self.settings.home, *parts])


def definition(settings: Settings, images: Images, commit: str) -> dict[str, Any]:
    """Return the pipeline as SageMaker keeps it.

    Parameters
    ----------
    settings : Settings
    images : Images
    commit : str
        As for `pipeline`.

    Returns
    -------
    dict
        In the JSON schema of SageMaker Pipelines.

    Raises
    ------
    ConfigError
        When the role `job` is not set.
    """
    region = boto3.Session(region_name=settings.region)
    session = PipelineSession(boto_session=region, default_bucket=settings.bucket)
    text = pipeline(settings, session, images, commit).definition()
    described: dict[str, Any] = json.loads(text)
    return described


def processor(
    settings: Settings,
    session: Session,
    image: str,
    command: list[str],
    lineage: Mapping[str, Any] | None = None,
    hosts: Any = 1,
) -> Processor:
    """Describe a processing job, without its inputs and outputs.

    Parameters
    ----------
    settings : Settings
    session : Session
    image : str
    command : list of str
        What runs in the image.
    lineage : mapping, optional
        Tags of the job.
    hosts : int or ParameterInteger
        How many machines share the work.

    Returns
    -------
    Processor

    Raises
    ------
    ConfigError
        When the role `job` is not set.
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
        Where the windows are; the one that tests the model is left out.
    checkpoints : str or pipeline variable
        Where the job keeps its progress.
    **further
        Of `ModelTrainer`; hyperparameters are keys of `conf/`.

    Returns
    -------
    ModelTrainer

    Raises
    ------
    ConfigError
        When the role `job` is not set.
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
    """Describe an input of a processing job, and the folder where it finds it.

    Parameters
    ----------
    name : str
    uri : str or pipeline variable
        S3 prefix: every host gets all files below it.
    folder : str
        Relative to `/opt/ml/processing`.

    Returns
    -------
    sagemaker.core.shapes.ProcessingInput
    """
    return shapes.ProcessingInput(
        input_name=name,
        s3_input=shapes.ProcessingS3Input(
            s3_uri=uri,
            local_path=f"{_FOLDER}/{folder}",
            s3_data_type="S3Prefix",
            s3_input_mode="File",
            s3_data_distribution_type="FullyReplicated",
        ),
    )


def job_output(name: str, uri: Any, folder: str, mode: str = "EndOfJob") -> shapes.ProcessingOutput:
    """Describe an output of a processing job, and the folder where it leaves it.

    Parameters
    ----------
    name : str
    uri : str or pipeline variable
        S3 prefix that gets the files.
    folder : str
        Relative to `/opt/ml/processing`.
    mode : {"EndOfJob", "Continuous"}
        When files are uploaded: at the end, or as they are written, which keeps them if the job
        fails.

    Returns
    -------
    sagemaker.core.shapes.ProcessingOutput
    """
    return shapes.ProcessingOutput(
        output_name=name,
        s3_output=shapes.ProcessingS3Output(
            s3_uri=uri, local_path=f"{_FOLDER}/{folder}", s3_upload_mode=mode
        ),
    )
