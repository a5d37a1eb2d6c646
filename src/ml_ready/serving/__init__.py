"""From a model to predictions: over HTTP and for files."""
