"""Serve a synthetic project, as a process; at its end it writes which modules it has imported.

Its arguments: the task, an empty folder for the project, the folder of the model, and the port.
"""

import atexit
import logging
import sys
from pathlib import Path

import synthetic
from ml_ready.runner import run
from ml_ready.serving.server import serve


def main() -> None:
    """Serve until SIGTERM."""
    task, root, folder, port = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    atexit.register(lambda: sys.stdout.write("\n".join(sys.modules)))
    # A server imports no model: it does not notice one that is not installed.
    project = synthetic.make(Path(root), task, model="parcels.training")
    run(lambda: serve(project, Path(folder), "127.0.0.1", int(port)))


if __name__ == "__main__":
    main()
