"""A session that runs a whole pipeline in local containers, which the SageMaker SDK 3.27 cannot do.

It has two classes of the name `LocalPipelineSession`: one is accepted by the steps, the other runs
pipelines, and `Pipeline.upsert` and `start` call a client that has neither. A test tells when the
SDK can do without this file.
"""

from typing import Any

import boto3
from sagemaker.core.workflow.pipeline_context import LocalPipelineSession as Steps
from sagemaker.mlops.local import LocalPipelineSession as Pipelines

_CALLS = (
    "create_pipeline",
    "update_pipeline",
    "describe_pipeline",
    "delete_pipeline",
    "start_pipeline_execution",
)


class LocalSession(Pipelines, Steps):  # type: ignore[misc]
    """Runs jobs and pipelines in containers of this machine.

    Parameters
    ----------
    region : str
    bucket : str
        Where the jobs read and write.
    folder : str
        Where the containers get their files from.
    """

    def __init__(self, region: str, bucket: str, folder: str) -> None:
        super().__init__(boto_session=boto3.Session(region_name=region), default_bucket=bucket)
        self.config = {"local": {"local_code": True, "container_root": folder}}

    def _initialize(self, *arguments: Any, **options: Any) -> None:
        super()._initialize(*arguments, **options)
        for name in _CALLS:
            setattr(self.sagemaker_client, name, getattr(self, name))
