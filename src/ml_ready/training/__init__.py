"""From features to a model: checkpoints, export, report, and where a model comes from."""
