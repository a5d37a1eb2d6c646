"""What MLServer needs to serve an ONNX model; runs in the environment of MLServer."""

import numpy as np  # type: ignore[import-not-found]
import onnxruntime as ort  # type: ignore[import-not-found]
from mlserver import MLModel  # type: ignore[import-not-found]
from mlserver.codecs import decode_args  # type: ignore[import-not-found]


class OnnxModel(MLModel):  # type: ignore[misc]
    """Probabilities for rows of numbers."""

    async def load(self) -> bool:
        """Load the file that model-settings.json names."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(
            self.settings.parameters.uri, options, providers=["CPUExecutionProvider"]
        )
        return True

    @decode_args  # type: ignore[untyped-decorator]
    async def predict(self, rows: np.ndarray) -> np.ndarray:
        """Score the input named `rows`."""
        return self.session.run(["probabilities"], {"rows": rows})[0]
