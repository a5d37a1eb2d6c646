"""Servers of the same model under the same load: throughput, latency, start, memory."""

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from measure import (
    PACKAGE,
    PROGRAMS,
    Bench,
    Command,
    Contender,
    MeasureError,
    Quantity,
    free_port,
    running,
    timed,
)

THROUGHPUT, P50, P99 = "single-row JSON, {}", "– p50, {}", "– p99, {}"
ONE, EIGHT, MANY = "1 connection", "8 connections", "64 connections"
PING, MEMORY = "first `/ping`", "memory after the load"
SERVING = [
    Quantity(THROUGHPUT.format(EIGHT), "/s", 6000, more_is_better=True),
    Quantity(THROUGHPUT.format(MANY), "/s", 9000, more_is_better=True),
    Quantity(P50.format(ONE), "ms", 0.8),
    Quantity(P99.format(ONE), "ms"),
    Quantity(P50.format(EIGHT), "ms"),
    Quantity(P99.format(EIGHT), "ms"),
    Quantity(PING, "s", 1),
    Quantity(MEMORY, "MB", 150),
]
LOAD_SECONDS, START_LIMIT = 4, 120.0

# Cycles through the bodies in a file; made once, so that the generator costs next to nothing.
WRK_SCRIPT = """
local requests, i = {}, 0
init = function(arguments)
  for body in io.lines(arguments[1]) do
    local headers = { ["Content-Type"] = "application/json" }
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end
request = function()
  i = i % #requests + 1
  return requests[i]
end
"""

# The fastest way to serve it: one tensor in, no data frame.
SAVE_FOR_MLFLOW = """
import sys, mlflow, onnx
options = {"intra_op_num_threads": 1}
mlflow.onnx.save_model(
    onnx.load(sys.argv[1]), sys.argv[2],
    onnx_execution_providers=["CPUExecutionProvider"], onnx_session_options=options,
)
"""


@dataclass(frozen=True)
class Server:
    """How a server is started and asked."""

    command: Command
    folder: Path
    port: int
    health: str
    invocations: str
    bodies: Path


def serving(bench: Bench) -> dict[str, Contender]:
    """Each server on one core of its own, wrk on the others; loopback; started again each round.

    ml-ready gets raw records and computes the features for each request. The peers serve the same
    trees as ONNX with onnxruntime and get the 19 features as numbers, ready-made: less work, in
    their fastest form (MLServer without a process pool, mlflow with a tensor instead of a data
    frame). Memory is that of all their processes.
    """

    def ours() -> dict[str, float]:
        port = free_port()
        project = bench.project()
        python = project / ".venv" / "bin" / "python"
        command: Command = [python, "-m", f"{PACKAGE}.entrypoints.serve", "--port", str(port)]
        bodies = _inputs(bench) / "ml-ready.jsonl"
        return _measured(Server(command, project, port, "/ping", "/invocations", bodies))

    def mlserver() -> dict[str, float]:
        programs = bench.environment("MLServer", "mlserver", "onnxruntime")
        folder, port = bench.new_folder("mlserver"), free_port()
        shutil.copy(PROGRAMS / "mlserver_onnx.py", folder)
        model = {
            "name": "flights",
            "implementation": "mlserver_onnx.OnnxModel",
            "parameters": {"uri": str(_inputs(bench) / "model.onnx")},
        }
        settings = {
            "host": "127.0.0.1",
            "http_port": port,
            "grpc_port": free_port(),
            "metrics_port": free_port(),
            "parallel_workers": 0,
            "debug": False,
        }
        (folder / "model-settings.json").write_text(json.dumps(model), encoding="utf-8")
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        command: Command = [programs / "mlserver", "start", folder]
        bodies = _inputs(bench) / "mlserver.jsonl"
        where = ("/v2/health/ready", "/v2/models/flights/infer")
        return _measured(Server(command, folder, port, *where, bodies))

    def mlflow() -> dict[str, float]:
        programs = bench.environment("mlflow", "mlflow", "onnx", "onnxruntime")
        inputs, port = _inputs(bench), free_port()
        model = bench.folder / "mlflow-model"
        if not model.exists():
            files = [inputs / "model.onnx", model]
            timed([programs / "python", "-c", SAVE_FOR_MLFLOW, *files], bench.folder)
        options = f"--env-manager local --workers 1 --host 127.0.0.1 --port {port} --model-uri"
        command: Command = [programs / "mlflow", "models", "serve", *options.split(), model]
        bodies = inputs / "mlflow.jsonl"
        server = Server(command, bench.folder, port, "/ping", "/invocations", bodies)
        return _measured(server, PATH=f"{programs}{os.pathsep}{os.environ['PATH']}")

    return {"ml-ready": ours, "MLServer": mlserver, "mlflow models serve": mlflow}


def _inputs(bench: Bench) -> Path:
    """Return the folder with the peers' model and with bodies of requests for each server."""
    folder = bench.folder / "serving"
    if not (folder / "wrk.lua").exists():
        folder.mkdir(exist_ok=True)
        python = bench.project() / ".venv" / "bin" / "python"
        timed([python, PROGRAMS / "peer_model.py", PACKAGE, folder], bench.project())
        (folder / "wrk.lua").write_text(WRK_SCRIPT, encoding="utf-8")
    return folder


def _measured(server: Server, **variables: str) -> dict[str, float]:
    for tool in ("wrk", "taskset"):
        if not shutil.which(tool):
            raise MeasureError(f"{tool} is not on the PATH: apt-get install wrk util-linux")
    core, *others = map(str, sorted(os.sched_getaffinity(0)))
    if not others:
        raise MeasureError("there is one core only: the server and its load need one each")
    command: Command = ["taskset", "--cpu-list", core, *server.command]
    wrk: Command = ["taskset", "--cpu-list", ",".join(others), "wrk", "--threads", "1"]
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        with running(command, server.folder, output.fileno(), **variables) as process:
            try:
                _wait(server, process)
                figures = {PING: time.perf_counter() - started}
                _ask_once(server)
                _load(wrk, server, EIGHT, seconds=1)
                for connections in (ONE, EIGHT, MANY):
                    figures |= _load(wrk, server, connections, LOAD_SECONDS)
                return figures | {MEMORY: sum(map(_resident, _tree(process.pid))) / 1000}
            except MeasureError as error:
                output.seek(0)
                lines = output.read().decode(errors="replace").strip().splitlines() or ["nothing"]
                raise MeasureError(f"{error}; the server said: {lines[-1]}") from error


def _wait(server: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_LIMIT
    while time.monotonic() < end:
        if process.poll() is not None:
            raise MeasureError(f"the server ended with {process.returncode}")
        with contextlib.suppress(OSError):
            if _status(server, "GET", server.health) == 200:
                return
        time.sleep(0.01)
    raise MeasureError(f"the server did not answer {server.health} within {START_LIMIT:.0f} s")


def _ask_once(server: Server) -> None:
    with server.bodies.open("rb") as bodies:
        status = _status(server, "POST", server.invocations, bodies.readline())
    if status != 200:
        raise MeasureError(f"{server.invocations} answers with {status}, expected 200")


def _status(server: Server, method: str, path: str, body: bytes | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def _load(wrk: Command, server: Server, connections: str, seconds: int) -> dict[str, float]:
    address = f"http://127.0.0.1:{server.port}{server.invocations}"
    amount: Command = [
        "--connections",
        connections.split()[0],
        "--duration",
        f"{seconds}s",
        "--latency",
    ]
    script: Command = ["--script", server.bodies.with_name("wrk.lua"), address, "--", server.bodies]
    done = subprocess.run(
        [*wrk, *amount, *script], check=False, capture_output=True, text=True, timeout=120
    )
    errors = re.findall("Non-2xx.+|Socket errors.+", done.stdout)
    if done.returncode or errors:
        raise MeasureError(f"wrk with {connections}: {(errors or [done.stderr])[0]}")
    figures = {THROUGHPUT: float(re.findall(r"Requests/sec: +([\d.]+)", done.stdout)[0])}
    for name, percentile in ((P50, "50"), (P99, "99")):
        [(figure, unit)] = re.findall(rf" {percentile}% +([\d.]+)(us|ms|s)\b", done.stdout)
        figures[name] = float(figure) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    return {name.format(connections): figure for name, figure in figures.items()}


def _tree(pid: int) -> list[int]:
    processes = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text(encoding="utf-8").split():
            processes += _tree(int(child))
    return processes


def _resident(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return float(re.findall(r"VmRSS:\s+(\d+)", status)[0])
