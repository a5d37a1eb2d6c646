"""Requests to the application without a socket."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import msgspec
import numpy as np
import polars as pl
from ml_ready.serving.predictor import Predictor
from starlette.types import ASGIApp

JSON = {"content-type": "application/json"}


def ask(app: ASGIApp, method: str, path: str, **keywords: Any) -> httpx.Response:
    """Send one request."""

    async def sent() -> httpx.Response:
        async with client(app) as connected:
            return await connected.request(method, path, **keywords)

    return asyncio.run(sent())


def client(app: ASGIApp) -> httpx.AsyncClient:
    """Return a client of the application."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server")


def invoke(app: ASGIApp, content: Any, content_type: str = "application/json") -> httpx.Response:
    """Ask for predictions."""
    headers = {"content-type": content_type}
    return ask(app, "POST", "/invocations", content=content, headers=headers)


def invoke_at_once(app: ASGIApp, contents: Sequence[bytes]) -> list[httpx.Response]:
    """Ask for predictions, with a client for each body at the same time."""

    async def sent() -> list[httpx.Response]:
        async with client(app) as connected:
            posts = (
                connected.post("/invocations", content=content, headers=JSON)
                for content in contents
            )
            return await asyncio.gather(*posts)

    return asyncio.run(sent())


def instances(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Write a JSON request."""
    return msgspec.json.encode({"instances": rows})


def answers(response: httpx.Response) -> list[Any]:
    """Read a JSON answer."""
    assert response.status_code == 200, response.text
    predictions: list[Any] = response.json()["predictions"]
    return predictions


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """Read an error answer, and hold it to the one form that there is."""
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    content: dict[str, Any] = response.json()
    assert set(content) == {"error", "violations"}
    return content


def predicted(predictor: Predictor, known: pl.DataFrame) -> list[Any]:
    """Return the answers to records, by the batch path."""
    return predictor.outputs.predictions(predictor.frame(known).tolist())


def first(scores: np.ndarray) -> np.ndarray:
    """Return the first score of each row."""
    return np.asarray(scores.reshape(len(scores), -1)[:, 0])
