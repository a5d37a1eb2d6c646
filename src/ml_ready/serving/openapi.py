"""The OpenAPI description of the server, made from the contract, so that it is always true."""

import json
from typing import Any

import msgspec

from .formats import Formats, Problem

_REFUSALS = {
    "400": "The body cannot be read, or holds no record.",
    "408": "The body did not arrive in time.",
    "413": "The body is too large.",
    "415": "The content type is not one that is listed.",
    "422": "A record breaks the contract: the answer names field, value and rule.",
    "500": "The server has failed: its log says where.",
}


def description(formats: Formats) -> bytes:
    """Describe what the server takes and answers.

    Parameters
    ----------
    formats : Formats
        Of the project that is served.

    Returns
    -------
    bytes
        JSON, as OpenAPI 3.1 wants it.
    """
    (asked, answered, refused, _), schemas = msgspec.json.schema_components(
        [formats.instances, formats.predictions, Problem, formats.record],
        ref_template="#/components/schemas/{name}",
    )
    schemas["Instances"]["properties"]["instances"]["minItems"] = 1
    for column in formats.inputs:
        meaning = f"{column.description}; {column.rule}"
        schemas["Record"]["properties"][column.name]["description"] = meaning
    lines: dict[str, Any] = {"schema": {"type": "string"}}
    others = {name.decode(): lines for name in formats.accepted if name != b"application/json"}
    answers = {
        "200": {
            "description": "A prediction for each record, in their order.",
            "content": {"application/json": {"schema": answered}} | others,
        }
    }
    for status, reason in _REFUSALS.items():
        content = {"application/json": {"schema": refused}}
        answers[status] = {"description": reason, "content": content}
    body = {"required": True, "content": {"application/json": {"schema": asked}} | others}
    loaded = {"200": {"description": "The model is loaded."}}
    described = {
        "openapi": "3.1.0",
        "info": {"title": "Predictions", "version": "1"},
        "paths": {
            "/ping": {"get": {"responses": loaded}},
            "/invocations": {"post": {"requestBody": body, "responses": answers}},
        },
        "components": {"schemas": schemas},
    }
    # Python's end of a text is `$` in JSON Schema.
    return json.dumps(described).replace(r"\\Z", "$").encode()
