"""From features to a model: fit, export, evaluate, report, track."""
