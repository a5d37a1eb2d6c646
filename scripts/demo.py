"""From nothing to a prediction over HTTP: bake the default project and use it, step by step."""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

TEMPLATE = Path(__file__).parents[1]
SLUG = "flight-delays"
SCRIPTS = "Scripts" if os.name == "nt" else "bin"
FLIGHT = """
import json, polars
from flight_delays.project import PROJECT
flights = polars.read_parquet("data/raw/records.parquet").drop_nulls(["temp", "seats", "arr_delay"])
flight = flights.sort("time_hour").row(-1, named=True)
names = [column.name for column in PROJECT.inputs]
print(json.dumps({name: flight[name] for name in names if flight[name] is not None}, default=str))
"""


def main() -> None:
    """Run the steps; the first that fails ends the demo with its own message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=TEMPLATE.parent,
        help="where the project is made (default: beside this repository)",
    )
    project = parser.parse_args().folder.resolve() / SLUG
    python = project / ".venv" / SCRIPTS / "python"
    started = time.perf_counter()
    if project.exists() and not (project / "bootstrap.py").is_file():
        sys.exit(f"{project} is there and is no project: remove it, or name a folder in ARGS.")
    if project.exists():
        say(f"Bake: {project} is there already, going on with it")
    else:
        say("Bake")
        bake = [python_here("cookiecutter"), "--no-input", TEMPLATE, "--output-dir", project.parent]
        run(bake, TEMPLATE)
    say("Environment from the lock")
    run([sys.executable, "bootstrap.py"], project)
    say("Data, features, model, report")
    run([project / ".venv" / SCRIPTS / "poe", "pipeline"], project)
    say("A prediction over HTTP")
    ask(project, python)
    say(f"Done in {time.perf_counter() - started:.0f} s")
    print(f"project  {project}\nreport   {project / 'reports' / 'index.html'}")


def say(title: str) -> None:
    """Print the title of a step."""
    print(f"\n== {title}", flush=True)


def python_here(tool: str) -> Path:
    """Return the path of a tool beside the running Python."""
    return Path(sys.executable).with_name(tool)


def run(command: Sequence[str | Path], folder: Path, *, capture: bool = False) -> str:
    """Run a step and return what it printed if captured; stop with its exit code when it fails."""
    output = subprocess.PIPE if capture else None
    done = subprocess.run(command, cwd=folder, check=False, stdout=output, text=True)
    if done.returncode:
        names = " ".join(map(str, command))
        print(f"\nThis step failed: {names}\nIts message is above.", file=sys.stderr)
        sys.exit(done.returncode)
    return done.stdout or ""


def ask(project: Path, python: Path) -> None:
    """Serve the model, send it a real flight, print the answer, stop the server."""
    flight = run([python, "-c", FLIGHT], project, capture=True)
    body = json.dumps({"instances": [json.loads(flight)]}).encode()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    package = SLUG.replace("-", "_")
    server = subprocess.Popen(
        [python, "-m", f"{package}.entrypoints.serve", "--port", str(port)], cwd=project
    )
    try:
        wait(f"http://127.0.0.1:{port}/ping", server)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            print(f"flight  {flight.strip()}\nanswer  {answer.read().decode().strip()}", flush=True)
    finally:
        server.terminate()
        server.wait(timeout=60)


def wait(address: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers, or stop when it ended or takes more than two minutes."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if server.poll() is not None:
            sys.exit("The server ended before it answered; its message is above.")
        try:
            urllib.request.urlopen(address, timeout=5).close()  # noqa: S310
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    sys.exit("The server did not answer within two minutes.")


if __name__ == "__main__":
    main()
