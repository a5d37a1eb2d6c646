"""What tests a project: a pytest plugin with the rules of the tiers, and fixtures.

A project opts in with `-p ml_ready.testing` among pytest's options in `pyproject.toml`.
"""

pytest_plugins = (
    "ml_ready.testing.tiers",
    "ml_ready.testing.fixtures",
    "ml_ready.testing.servers",
)
