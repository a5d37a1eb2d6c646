"""Tasks: what a model answers, and how it is exported, measured, compared and drawn."""
