"""What runs pytest in a test of the plugin."""

pytest_plugins = ["pytester"]
