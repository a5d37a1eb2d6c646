"""The images of a project: what they hold, what they do not, and what a change makes again."""

import asyncio
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import certifi
import filelock
import httpx
import polars as pl
import pytest

from tests.project import engine, readme
from tests.project.conftest import Project, described, train

LIMIT = 350e6  # bytes that the serving image may add to its base
# How the settings of pip that a build is given begin, and a line among its certificates.
OF_NOBODY_ELSE = [".env", ".coverage"]  # git ignores them as well
INDEX, CERTIFICATE = "[global]\nindex-url = ", "# certificates of this test"


def docker(*arguments: str) -> str:
    return subprocess.check_output(["docker", *arguments], text=True).strip()


def bootstrapped(project: Project, name: str) -> str:
    """What `bootstrap.py` gives pip and Poetry in a variable, as the build gets it."""
    script = (
        'import runpy; found = runpy.run_path("bootstrap.py"); '
        'found["ensure_poetry"](verbose=False); '
        f'print("is", found["environment"]().get("{name}", ""))'
    )
    said = project.does(f"python3 -c '{script}'", activated=False)
    return said.splitlines()[-1].removeprefix("is").strip()


@pytest.fixture(scope="module")
def built(
    other: Project, images: filelock.BaseFileLock, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """A committed project with a model and both images, which are removed at the end.

    It is the other one: the images of the first are those of test_sagemaker.py.
    """
    try:
        engine.require()
    except engine.NoEngineError as reason:
        pytest.skip(str(reason))
    trained = train(other, tmp_path_factory.mktemp("other"))
    own = Path(bootstrapped(trained, "REQUESTS_CA_BUNDLE") or certifi.where()).read_text()
    bundle = tmp_path_factory.mktemp("certificates") / "bundle.pem"
    bundle.write_text(f"{own}\n{CERTIFICATE}\n")
    # What is built again takes the name from what was built before, but not the label.
    label = f"{engine.RUN}={uuid.uuid4().hex}"
    options = f"{trained.environment.get('IMAGE_OPTIONS', '')} --label {label}"
    project = replace(trained, environment={**trained.environment, "IMAGE_OPTIONS": options})
    with images:
        try:
            # Where nobody else may read the files of a project, the server is nobody all the same.
            trained.does("chmod -R go-rwx src")
            for name in OF_NOBODY_ELSE:
                next(trained.root.glob("src/*/schema.py")).with_name(name).write_text("secret\n")
            project.does("poe image", REQUESTS_CA_BUNDLE=str(bundle))
            yield project
        finally:
            if found := engine.labelled(label):
                docker("rmi", "--force", *found)


@contextmanager
def served(project: Project, *options: str) -> Iterator[tuple[str, int]]:
    """Run the server on the project's model; where it is reached, and its process."""
    models = f"{project.root / 'models'}:/opt/ml/model:ro"
    command = ["run", "--detach", "--rm", "--read-only", "--volume", models, *options]
    name = docker(*command, f"{project.root.name}-serve", "serve")
    try:
        found = json.loads(docker("inspect", name))[0]
        (network,) = found["NetworkSettings"]["Networks"].values()
        url = f"http://{network['IPAddress']}:8080"
        end = time.monotonic() + 60
        while not readme.answers(f"{url}/ping"):
            assert time.monotonic() < end, docker("logs", name)
            time.sleep(0.02)
        yield url, found["State"]["Pid"]
    finally:
        docker("rm", "--force", name)


def layers(name: str, base: str) -> Iterator[tuple[str, bytes]]:
    """Yield the settings and history of an image, and each file of the layers over its base."""
    saved = subprocess.check_output(["docker", "save", name])
    under = json.loads(docker("inspect", "--format", "{{json .RootFS.Layers}}", base))
    with tarfile.open(fileobj=io.BytesIO(saved)) as image:
        (described,) = json.loads(image.extractfile("manifest.json").read())  # type: ignore[union-attr]
        config = described["Config"]
        yield config, image.extractfile(config).read()  # type: ignore[union-attr]
        for each in described["Layers"][len(under) :]:
            with tarfile.open(fileobj=image.extractfile(each)) as layer:
                for file in layer.getmembers():
                    if file.isfile():
                        yield file.name, layer.extractfile(file).read()  # type: ignore[union-attr]


def leaks(path: str, content: bytes, *texts: str) -> bool:
    """Whether a file of an image holds one of the texts, or is a secret."""
    return "run/secrets" in path or any(text.encode() in content for text in texts)


@pytest.mark.parametrize("target", ["train", "serve"])
def test_no_layer_holds_the_package_index_or_a_certificate(built: Project, target: str) -> None:
    name, secrets = f"{built.root.name}-{target}", [INDEX, CERTIFICATE]
    index = urlsplit(bootstrapped(built, "POETRY_PYPI_MIRROR_URL")).netloc
    if index != "pypi.org":  # which packages name as well
        secrets.append(index)
    held, leaking = set(), []
    for path, content in layers(name, base(built)):
        held.add(path.rpartition("/")[2])
        leaking += [path] * leaks(path, content, *secrets)
    assert leaking == []
    assert "schema.py" in held
    assert held.isdisjoint(OF_NOBODY_ELSE)
    assert "[global]" not in docker("history", "--no-trunc", name)


@pytest.mark.parametrize("secret", [INDEX, CERTIFICATE])
def test_a_layer_that_holds_it_is_found(built: Project, tmp_path: Path, secret: str) -> None:
    copies = "COPY secret /app/copy\nCOPY secret /etc/pip.conf\n"
    (tmp_path / "Dockerfile").write_text(f"FROM {built.root.name}-serve\nUSER 0\n{copies}")
    (tmp_path / "secret").write_text(f"\n{secret}https://index.example\n")
    docker("build", "--quiet", "--tag", "ml-ready-leak", str(tmp_path))
    try:
        files = layers("ml-ready-leak", base(built))
        leaking = [path for path, content in files if leaks(path, content, INDEX, CERTIFICATE)]
        assert leaking == ["app/copy", "etc/pip.conf"]
    finally:
        docker("rmi", "--force", "ml-ready-leak")


def test_a_job_makes_the_model_of_the_other_framework(built: Project) -> None:
    printed = built.does("pytest tests/e2e/test_image.py -k jobs_make_a_model")
    assert re.search(r"\b1 passed", printed), printed


def test_the_serving_image_is_small(built: Project) -> None:
    sizes = [
        int(docker("inspect", "--format", "{{ .Size }}", name))
        for name in (f"{built.root.name}-serve", base(built))
    ]
    assert sizes[0] - sizes[1] <= LIMIT


def base(project: Project) -> str:
    """The image that both are built on."""
    found = re.search(r"BASE_IMAGE=(\S+)", project.environment.get("IMAGE_OPTIONS", ""))
    default = re.search(
        r"^ARG BASE_IMAGE=(\S+)", (project.root / "container/Dockerfile").read_text()
    )
    chosen = found or default
    assert chosen
    return chosen[1]


def test_an_image_says_what_it_was_built_from(built: Project) -> None:
    commit = built.does("git rev-parse HEAD").strip()
    lock = built.does("sha256sum poetry.lock").split()[0]
    for target in ("train", "serve"):
        labels = json.loads(
            docker(
                "inspect", "--format", "{{ json .Config.Labels }}", f"{built.root.name}-{target}"
            )
        )
        assert labels["org.opencontainers.image.revision"] == commit
        assert labels["poetry.lock.sha256"] == lock


def test_the_server_says_that_it_takes_the_port_it_is_given(built: Project) -> None:
    name = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"
    label = f'{{{{ index .Config.Labels "{name}" }}}}'
    assert docker("inspect", "--format", label, f"{built.root.name}-serve") == "true"


def test_a_missing_or_broken_model_ends_the_server_with_the_reason(
    built: Project, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    command = ["docker", "run", "--rm", "--volume", f"{folder}:/opt/ml/model:ro"]
    for problem in ("metadata.json: not readable", "model.onnx: does not match"):
        done = subprocess.run(
            [*command, f"{built.root.name}-serve", "serve"], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: /opt/ml/model/{problem}")
        assert len(done.stderr.splitlines()) == 1
        shutil.copytree(built.root / "models", folder, dirs_exist_ok=True)
        (folder / "model.onnx").write_bytes(b"cut off")


@pytest.mark.parametrize("target", ["train", "serve"])
def test_a_change_of_code_installs_nothing_and_is_no_commit(built: Project, target: str) -> None:
    code = next((built.root / "src").glob("*/schema.py"))
    before = code.read_text()
    try:
        code.write_text(f"{before}\nCHANGED = True\n")
        said = built.does(f"poe image {target}")
        assert "Installing" not in said
        assert re.search(rf"{target}-packages(?:.*\n){{1,3}}.*CACHED", said), said
        label = '{{ index .Config.Labels "org.opencontainers.image.revision" }}'
        name = f"{built.root.name}-{target}"
        assert docker("inspect", "--format", label, name).endswith("-dirty")
        run = ["docker", "run", "--rm", name, "grep", "-r", "CHANGED", "/app/src"]
        assert "schema.py" in subprocess.check_output(run, text=True)
    finally:
        code.write_text(before)
        built.does(f"poe image {target}")


def test_an_image_holds_what_it_needs_and_nothing_else(built: Project) -> None:
    secret = built.root / ".env"
    secret.write_text("TOKEN=x\n")
    try:
        built.does("poe image")
    finally:
        secret.unlink()
    found = {}
    for target in ("train", "serve"):
        image = ["run", "--rm", f"{built.root.name}-{target}"]
        found[target] = docker(*image, "ls", "-A", "/app").split()
        code = docker(*image, "find", "src", "-type", "f", "-not", "-name", "*.pyc").split()
        assert sorted(code) == sorted(built.does("git ls-files src").split())
    assert found == {
        "train": [".venv", "conf", "poetry.lock", "pyproject.toml", "src"],
        "serve": [".venv", "src"],
    }


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker on the PATH")
def test_without_an_engine_one_line_says_so(fresh: Project) -> None:
    said = fresh.refuses("poe image serve", DOCKER_HOST="unix:///nowhere/docker.sock")
    told, line = said.splitlines()
    assert told.startswith("Poe => ")
    assert line.startswith("error: Docker does not answer: ")
    assert "unix:///nowhere/docker.sock" in line


def test_without_docker_one_line_says_what_to_install(fresh: Project) -> None:
    said = fresh.refuses("PATH=$VIRTUAL_ENV/bin poe image serve")
    line = "error: there is no `docker` on the PATH: install Docker"
    assert said.splitlines()[1:] == [line]


def test_an_image_that_does_not_exist_is_refused_with_those_that_do(fresh: Project) -> None:
    said = fresh.refuses("poe image serve nothing").splitlines()[-1]
    assert said.endswith("error: nothing: no such target, expected train, serve, spark")


def test_options_go_to_docker(built: Project) -> None:
    built.does("poe image serve --label of=a-test")
    label = docker("inspect", "--format", "{{ .Config.Labels.of }}", f"{built.root.name}-serve")
    built.does("poe image serve")
    assert label == "a-test"


def test_a_base_that_is_not_there_is_named(built: Project) -> None:
    said = built.refuses("poe image serve --build-arg BASE_IMAGE=ml-ready-nowhere:0")
    # As Docker names it: poe repeats the command.
    assert "docker.io/library/ml-ready-nowhere:0" in said
    line = f"error: {built.root.name}-serve is not built: see the error above"
    assert said.splitlines()[-1] == line


def test_two_hosts_with_spark_make_what_polars_makes(built: Project, tmp_path: Path) -> None:
    built.does("poe image spark")
    image, hosts = f"{built.root.name}-spark", ["algo-1", "algo-2"]
    network = docker("network", "create", f"ml-ready-spark-{os.getpid()}")
    started = []
    try:
        for name in hosts:
            folder = tmp_path / name
            (folder / "config").mkdir(parents=True)
            resources = json.dumps({"current_host": name, "hosts": hosts})
            (folder / "config" / "resourceconfig.json").write_text(resources)
            shutil.copytree(built.root / "data/sample", folder / "processing" / "source")
            in_parts(folder / "processing" / "source" / "flights.parquet")
            options = ["--hostname", name, "--network", network, "--network-alias", name]
            # Code that runs once is not worth a second compilation.
            options += ["--env", "JDK_JAVA_OPTIONS=-XX:TieredStopAtLevel=1"]
            options += ["--env", "SPARK_WORKER_CORES=1", "--volume", f"{folder}:/opt/ml"]
            started.append(docker("run", "--detach", *options, image, "process-spark"))
        for container in started:
            subprocess.run(["docker", "wait", container], check=True, timeout=600)
            ended = docker("inspect", "--format", "{{.State.ExitCode}}", container)
            assert ended == "0", docker("logs", container)
        for window in ("train", "validation", "test"):
            found = [tmp_path / name / "processing/data/processed" / window for name in hosts]
            # What a host writes stays on it.
            parts = [pl.read_parquet(next(each.glob("*.parquet"))) for each in found]
            expected = pl.read_parquet(built.root / "data/processed" / window)
            assert pl.concat(parts).sort(pl.all()).equals(expected.sort(pl.all()))
    finally:
        if started:
            docker("rm", "--force", *started)
        docker("network", "rm", network)
        docker("rmi", "--force", image)


def in_parts(path: Path) -> None:
    """Make a table of one file one of six, which gives two hosts something to do."""
    table = pl.read_parquet(path)
    path.unlink()
    path.mkdir()
    for part in range(6):
        table.gather_every(6, part).write_parquet(path / f"{part}.parquet")


REQUESTS = 100_000
GROWTH = 8.0  # MB
BODY = "            body = await _body(headers, receive)\n"  # a line of server.py


async def asked(url: str, body: bytes, count: int) -> None:
    """Send a request so many times or a few more, over many connections."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    head = "POST /invocations HTTP/1.1\r\nhost: server\r\ncontent-type: application/json\r\n"
    request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    async def ask(times: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for _ in range(times):
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            length = int(re.findall(rb"content-length: (\d+)", answer)[0])
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*(ask(count // 64 + 1) for _ in range(64)))


def growth(project: Project, *options: str) -> float:
    """By how many MB the server grows over the requests, once it is warm."""
    records = pl.read_parquet(project.root / "data/raw/records.parquet").head(1)
    with served(project, *options) as (url, process):
        fields = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]["Record"]
        row = json.loads(records.select(list(fields["properties"])).write_json())
        body = json.dumps({"instances": row}).encode()
        sizes = []
        for count in (REQUESTS // 5, REQUESTS):
            asyncio.run(asked(url, body, count))
            status = Path(f"/proc/{process}/status").read_text()
            sizes.append(int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024)
    return sizes[1] - sizes[0]


def test_the_server_does_not_grow_over_a_hundred_thousand_requests(built: Project) -> None:
    assert growth(built) < GROWTH


def changed(project: Project, name: str, text: str, by: str, folder: Path) -> list[str]:
    """Options that run the server with another text in one of the library's files."""
    (library,) = project.root.glob(".venv/lib/python*/site-packages/ml_ready")
    source = shutil.copytree(library, folder / "ml_ready")
    # The server, which is nobody, reads it as it is here.
    subprocess.run(["chmod", "-R", "a+rX", source], check=True)
    file = source / "serving" / name
    assert text in file.read_text()
    file.write_text(file.read_text().replace(text, by))
    where = "import ml_ready; print(*ml_ready.__path__)"
    image = f"{project.root.name}-serve"
    return ["--volume", f"{source}:{docker('run', '--rm', image, 'python3', '-c', where)}:ro"]


def test_a_server_that_keeps_what_it_is_sent_is_found(built: Project, tmp_path: Path) -> None:
    line = "            globals().setdefault('KEPT', []).append(body)\n"
    hoarding = changed(built, "server.py", BODY, f"{BODY}{line}", tmp_path)
    assert growth(built, *hoarding) > GROWTH


def test_a_body_that_does_not_arrive_is_given_up_in_time_and_holds_up_nobody(
    built: Project,
) -> None:
    with served(built) as (url, _):
        host, port = urlsplit(url).hostname, urlsplit(url).port
        assert host is not None
        waiting = [http.client.HTTPConnection(host, port, timeout=60) for _ in range(100)]
        for connection in waiting:
            connection.putrequest("POST", "/invocations")
            connection.putheader("content-type", "application/json")
            connection.putheader("content-length", "1000")
            connection.endheaders(b"{")
        begun = time.monotonic()
        silent = [socket.create_connection((host, port), timeout=60) for _ in range(10)]
        for each in silent:
            each.sendall(b"POST /invocations HTTP/1.1\r\nhost:")
        assert httpx.get(f"{url}/ping").status_code == 200
        assert {connection.getresponse().status for connection in waiting} == {408}
        assert {each.recv(1) for each in silent} == {b""}
        assert time.monotonic() - begun < 60


def test_large_bodies_at_once_fit_into_a_small_machine(built: Project) -> None:
    bodies = [
        ("text/csv", b"a\n" * (25 * 2**19), 400),
        ("application/jsonlines", b"{}\n" * (25 * 2**20 // 3), 422),
    ]
    with served(built, "--memory", "2g", "--memory-swap", "2g") as (url, _):
        schemas = httpx.get(f"{url}/openapi.json").json()["components"]["schemas"]
        names = [*schemas["Record"]["properties"]]
        records = pl.read_parquet(built.root / "data/raw/records.parquet", columns=names)
        rows = records.select(names).write_csv(include_header=False).encode()
        bodies += [("text/csv", rows * (25 * 2**20 // len(rows)), 200)] * 4

        def ask(given: tuple[str, bytes, int]) -> int:
            kind, content, _ = given
            headers = {"content-type": kind}
            address = f"{url}/invocations"
            return httpx.post(address, content=content, headers=headers, timeout=120).status_code

        with ThreadPoolExecutor(len(bodies)) as threads:
            assert [*threads.map(ask, bodies)] == [status for _, _, status in bodies]
        assert httpx.get(f"{url}/ping").status_code == 200


LOAD = "poe load --url {} seconds=1 'users=[1,4]' minimum_requests_per_second=1 maximum_p99_ms=150"


def test_the_load_on_a_container_is_reported(built: Project) -> None:
    with served(built) as (url, _):
        printed = built.does(LOAD.format(url))
    assert re.search(r"The knee is at \d users with \S+ requests/s: every limit holds\.", printed)
    report = json.loads((built.root / "reports/load.json").read_text())
    assert [step["users"] for step in report["steps"]] == [1, 4]
    assert f"# Load on {url}" in (built.root / "reports/load.md").read_text()


def worked(process: int) -> float:
    """For how many seconds a process has used a core."""
    numbers = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")


def test_a_server_that_stands_still_is_found(built: Project) -> None:
    command = LOAD.replace("seconds=1", "seconds=9").replace("[1,4]", "[4]")
    with served(built) as (url, pid):
        before, over = worked(pid), Event()

        def stop() -> None:
            while worked(pid) < before + 1:
                if over.wait(0.05):
                    break
            os.kill(pid, signal.SIGSTOP)

        stopping = Thread(target=stop)
        stopping.start()
        try:
            printed = built.refuses(command.format(url))
        finally:
            over.set()
            stopping.join()
            os.kill(pid, signal.SIGCONT)
    assert "of the requests failed, required at most 0" in printed


def test_a_server_that_is_too_slow_is_stopped_at_the_limit(built: Project, tmp_path: Path) -> None:
    line = "            await asyncio.sleep(0.2)\n"
    slow = changed(built, "server.py", BODY, f"{BODY}{line}", tmp_path)
    with served(built, *slow) as (url, _):
        printed = built.refuses(LOAD.format(url))
    assert re.search(r"error: the server is too slow: 2\d\d\.?\d? ms at the 99th perc.*", printed)


def test_the_server_answers_as_it_is_described(built: Project, tmp_path: Path) -> None:
    with served(built) as (url, _):
        done = described(url, tmp_path)
    assert done.returncode == 0, done.stdout


def test_a_server_that_answers_otherwise_is_found(built: Project, tmp_path: Path) -> None:
    source = changed(built, "formats.py", "RequestError(422,", "RequestError(418,", tmp_path)
    with served(built, *source) as (url, _):
        done = described(url, tmp_path)
    assert done.returncode == 1
    assert "418" in done.stdout
