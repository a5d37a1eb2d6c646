"""A model repository: the README says what is where."""

import os

# Unless told otherwise, no library reports how it is used, or numbers the machine.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
