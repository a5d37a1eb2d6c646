"""The mechanism of a model repository; a project hands itself over as a `Project`."""

import os

# No library reports how it is used or identifies the machine, unless told otherwise.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
