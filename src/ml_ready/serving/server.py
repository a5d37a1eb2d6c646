"""The HTTP server that SageMaker expects: `GET /ping` and `POST /invocations`."""

import asyncio
import gc
import logging
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ..errors import ProjectError
from ..project import Project
from .formats import Format, Formats, Problem, RequestError, encode
from .openapi import description
from .predictor import Predictor

_log = logging.getLogger(__name__)

BODY_LIMIT = 25 * 1024 * 1024  # bytes, as SageMaker allows
BODY_SECONDS = 30.0
_TOO_LARGE = f"the body is larger than {BODY_LIMIT} bytes"
LARGE_BODY = 256 * 1024  # bytes
BATCH = 1000  # records: enough for arrays to pay, few enough for /ping to get a turn
_LAST_REQUESTS_SECONDS = 1.0  # for what is on its way when the server is told to stop
_UTF8 = {b"charset=utf-8", b'charset="utf-8"', b"charset=us-ascii"}

_Waiting = tuple[Sequence[Any], asyncio.Future[list[Any]]]


class Invocations:
    """The ASGI endpoint that answers records with predictions.

    Requests that arrive while a batch is computed form the next batch, so a busy server scores
    many records at the cost of a few, and an idle one adds no delay.

    Parameters
    ----------
    predictor : Predictor
    formats : Formats
        Of the same project.
    """

    def __init__(self, predictor: Predictor, formats: Formats) -> None:
        self._predictor = predictor
        self._accepted = formats.accepted
        self._waiting: deque[_Waiting] = deque()
        self._large = asyncio.Semaphore(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        content_type = b"application/json"
        try:
            headers = dict(scope["headers"])
            form = _format(headers, self._accepted)
            body = await _body(headers, receive)
            if body is None:
                return
            # Reading a large body takes long enough for /ping to be missed.
            large = len(body) > LARGE_BODY
            # One of them at a time: its records take many times the memory of the body.
            async with self._large if large else nullcontext():
                records, write = (
                    await asyncio.to_thread(form.read, body) if large else form.read(body)
                )
                answer = write(self._predictor.outputs.predictions(await self._scored(records)))
            status, content_type = 200, form.content_type
        except RequestError as error:
            _log.warning("%d %s", error.status, error)
            status, answer = error.status, encode(error.problem)
        except Exception as error:
            # Only messages of our own are known to hold no values of the record.
            reason = str(error) if isinstance(error, ProjectError) else type(error).__name__
            place = traceback.extract_tb(error.__traceback__)[-1]
            _log.error("500 %s (%s:%s)", reason, place.name, place.lineno)
            status, answer = 500, encode(Problem("the model could not score these records"))
        length = b"%d" % len(answer)
        described = [(b"content-type", content_type), (b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": described})
        await send({"type": "http.response.body", "body": answer})

    async def _scored(self, records: Sequence[Any]) -> list[Any]:
        scores: list[Any] = []
        for start in range(0, len(records), BATCH):
            scores += await self._queued(records[start : start + BATCH])
        return scores

    def _queued(self, records: Sequence[Any]) -> asyncio.Future[list[Any]]:
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._score_waiting)
        future: asyncio.Future[list[Any]] = loop.create_future()
        self._waiting.append((records, future))
        return future

    def _score_waiting(self, seen: int = 0) -> None:
        loop = asyncio.get_running_loop()
        if seen < len(self._waiting) < BATCH:
            # Read what else has arrived before computing; nothing is waited for.
            loop.call_soon(self._score_waiting, len(self._waiting))
            return
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting and rows < BATCH:
            records, future = self._waiting.popleft()
            if not future.done():  # its request may have been given up
                batch.append((records, future))
                rows += len(records)
        if self._waiting:
            loop.call_soon(self._score_waiting)
        self._score(batch)

    def _score(self, batch: Sequence[_Waiting]) -> None:
        rows = [msgspec.structs.asdict(record) for records, _ in batch for record in records]
        try:
            scores = iter(self._predictor.records(rows).tolist())
        except Exception as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
                return
            for waiting in batch:  # one by one, so that no request spoils the answers to others
                self._score([waiting])
            return
        for records, future in batch:
            future.set_result(list(islice(scores, len(records))))


def create_app(predictor: Predictor) -> ASGIApp:
    """Return the application that serves one model.

    Parameters
    ----------
    predictor : Predictor

    Returns
    -------
    ASGI application
        With `GET /ping`, `GET /openapi.json` and `POST /invocations`.

    Examples
    --------
    With a `project` and the folder `models` of its trained model:

    >>> import asyncio, httpx
    >>> from ml_ready.serving.predictor import Predictor
    >>> from ml_ready.serving.server import create_app
    >>> transport = httpx.ASGITransport(create_app(Predictor(project, models)))
    >>> client = httpx.AsyncClient(transport=transport, base_url="http://server")
    >>> asyncio.run(client.get("/ping")).json()
    {'status': 'ok'}
    """
    formats = Formats(predictor.project)
    invocations = Invocations(predictor, formats)

    async def describe(_: Request) -> Response:
        return Response(description(formats), media_type="application/json")

    routes = Starlette(
        routes=[
            Route("/ping", _ping, methods=["GET"]),
            Route("/openapi.json", describe, methods=["GET"]),
            Route("/invocations", invocations, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _not_routed},
    )
    routes.router.redirect_slashes = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # Middleware and routing would cost a fifth of the throughput.
        direct = scope["path"] == "/invocations" and scope.get("method") == "POST"
        await (invocations if direct else routes)(scope, receive, send)

    return app


class DrainingServer(uvicorn.Server):
    """A server that answers what is already on its way before it stops.

    uvicorn closes idle connections at once, and with them requests that it has not read yet; here
    the last answer on each connection says that it closes.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._silent: dict[tuple[Any, Any], float] = {}

    async def on_tick(self, counter: int) -> bool:
        """Close the connections on which no whole head has come in time, every few seconds.

        Parameters
        ----------
        counter : int
            How often uvicorn has called this: ten times per second.

        Returns
        -------
        bool
            Whether the server stops now.
        """
        if counter % 50 == 0:
            time = asyncio.get_running_loop().time()
            connections: Any = self.server_state.connections
            # A new head makes a new cycle; until its first byte, uvicorn's own timer runs.
            silent = [
                (each, each.cycle)
                for each in connections
                if (not each.cycle or each.cycle.response_complete)
                and not each.timeout_keep_alive_task
            ]
            self._silent = {key: self._silent.get(key, time) for key in silent}
            for (each, _), since in self._silent.items():
                if time - since > BODY_SECONDS and each.transport:
                    each.transport.close()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, answer for a moment longer, then finish what has begun.

        Parameters
        ----------
        sockets : list of socket.socket, optional
            Those that `run` was given. They are closed.
        """
        for server in self.servers:
            server.close()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        loop = asyncio.get_running_loop()
        end = loop.time() + _LAST_REQUESTS_SECONDS
        while state.connections and loop.time() < end:
            await asyncio.sleep(0.05)
        await super().shutdown(sockets)


def serve(project: Project, folder: Path, host: str, port: int) -> None:
    """Serve the model in `folder` until SIGTERM, then answer what was accepted and return.

    Parameters
    ----------
    project : Project
    folder : pathlib.Path
        Holds `model.onnx` and `metadata.json`.
    host : str
        Address to listen on.
    port : int
        0 takes a free one.

    Raises
    ------
    ProjectError
        When the model cannot be loaded or the port cannot be had.
    """
    # uvicorn raises the signal again once it has drained: a stop that was asked for is a success.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    predictor = Predictor(project, folder)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ProjectError(
            f"{host}:{port}: cannot listen there ({error.strerror}).",
            "Choose another --port or --host.",
        ) from error
    config = uvicorn.Config(
        create_app(predictor),
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=60,
    )
    gc.collect()
    gc.freeze()
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    _log.info("Serving %s on http://%s:%d", folder, shown, listener.getsockname()[1])
    DrainingServer(config).run(sockets=[listener])


async def _ping(_: Request) -> Response:
    return Response(b'{"status":"ok"}', media_type="application/json")


async def _not_routed(_: Request, error: Any) -> Response:
    _log.warning("%d %s", error.status_code, error.detail)
    return Response(
        encode(Problem(error.detail)),
        error.status_code,
        headers=error.headers,
        media_type="application/json",
    )


def _format(headers: Mapping[bytes, bytes], accepted: Mapping[bytes, Format]) -> Format:
    kind, *parameters = headers.get(b"content-type", b"").lower().split(b";")
    form = accepted.get(kind.strip())
    charsets = {part.strip() for part in parameters if part.strip().startswith(b"charset=")}
    encoding = headers.get(b"content-encoding", b"identity")
    if form is None or charsets - _UTF8 or encoding != b"identity":
        names = ", ".join(name.decode() for name in accepted)
        raise RequestError(415, f"Content-Type must be one of {names}, in UTF-8 and not compressed")
    return form


async def _body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes | None:
    if int(headers.get(b"content-length", 0)) > BODY_LIMIT:
        raise RequestError(413, _TOO_LARGE)
    parts: list[bytes] = []
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                more = message.get("more_body", False)
                if size > BODY_LIMIT:
                    raise RequestError(413, _TOO_LARGE)
    except TimeoutError as error:
        raise RequestError(
            408, f"the body did not arrive within {BODY_SECONDS:g} seconds"
        ) from error
    return b"".join(parts)
