"""The OpenAPI description of a service, made of the table that its routes are made of."""

from deepgen.serving.bodies import JSON, NPY

_REFUSALS = {
    400: "The body is no JSON object, or no .npy file.",
    403: "The request comes from a page of another site, or names another host.",
    404: "There is no such address.",
    405: "The address takes another method.",
    406: "The answer has no such type.",
    408: "The body did not arrive in time.",
    412: "The client has this answer already (If-None-Match).",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "A field must be something else: which, what was expected, and what came.",
    429: "Too many requests wait already.",
    500: "The service has failed.",
    503: "No answer within the time, or the service is starting or ending.",
}
_GET = (403, 405, 500)


def describe(service):
    """Return the description of a service, as plain data.

    Parameters
    ----------
    service : Service

    Returns
    -------
    dict
        OpenAPI 3.1.
    """
    paths = {
        "/healthz": _get("healthz", "Whether the process lives.", {"status": {"const": "ok"}}),
        "/readyz": _get(
            "readyz", "Whether all endpoints can answer.", {"status": {"const": "ready"}}, (503,)
        ),
        "/v1/model": _get("model", "What is served, and what it can be asked.", {}, (304,)),
        "/openapi.json": _get("openapi", "This description.", {}, (304,)),
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "Numbers for Prometheus.",
                "responses": {
                    "200": {"description": "Numbers.", "content": {
                        "text/plain": {"schema": {"type": "string"}}}},
                    **_refused(_GET),
                },
            }
        },
    }  # fmt: skip
    for name, ability in service.abilities.items():
        paths[f"/v1/{name}"] = {"post": _post(service, name, ability)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"deepgen: {type(service.estimator).__name__}",
            "version": service.version,
            "description": "Same rows, same options, same seed: same bytes.",
        },
        "paths": paths,
        "components": {"schemas": {"Refusal": _refusal()}, "headers": {}},
    }


def _get(name, summary, properties, further=()):
    schema = {"type": "object"}
    if properties:
        schema |= {"properties": properties, "required": list(properties)}
    responses = {"200": {"description": summary, "content": {JSON: {"schema": schema}}}}
    if 304 in further:
        responses["304"] = {"description": "The client has it already (If-None-Match)."}
    refused = (*_GET, *(status for status in further if status != 304))
    return {
        "get": {
            "operationId": name, "summary": summary,
            "responses": responses | _refused(refused),
        }
    }  # fmt: skip


def _post(service, name, ability):
    endpoint, fields = ability.endpoint, ability.fields
    n_columns = int(service.estimator.n_features_in_)
    properties, required = {}, [field.name for field in fields.values() if field.required]
    if endpoint.reads_rows:
        properties["rows"] = {
            "type": "array", "minItems": 1, "maxItems": ability.most_rows,
            "description": "Rows of values.",
            "items": {
                "type": "array", "minItems": n_columns, "maxItems": n_columns,
                "items": _cell(service, ability),
            },
        }  # fmt: skip
        required.insert(0, "rows")
    properties |= {field.name: schema_of(field) for field in fields.values()}
    body = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        body["required"] = required
    content = {JSON: {"schema": body}}
    parameters = []
    if endpoint.reads_rows:
        content[NPY] = {"schema": {"type": "string", "format": "binary"}}
        parameters = [
            {
                "name": field.name, "in": "query", "required": False,
                "description": f"{field.about} What the body says counts before it.",
                "schema": schema_of(field),
            }
            for field in fields.values()
            if field.holds != "label"
        ]  # fmt: skip
    answer = {
        "type": "object",
        "properties": {"values": {"type": "array"}},
        "required": ["values"],
    }
    if "std" in fields:
        answer["properties"]["deviations"] = {"type": "array"}
    if "proba" in fields:
        answer["properties"]["classes"] = {"type": "array"}
    headers = {
        "ETag": {"description": "Names this answer.", "schema": {"type": "string"}},
        "Server-Timing": {"description": "Milliseconds.", "schema": {"type": "string"}},
    }
    refused = (400, 403, 405, 406, 408, 412, 413, 415, 422, 429, 500, 503)
    return {
        "operationId": name,
        "summary": endpoint.about,
        "parameters": parameters,
        "requestBody": {"required": bool(required), "content": content},
        "responses": {
            "200": {
                "description": f"values: {endpoint.values}.", "headers": headers,
                "content": {
                    JSON: {"schema": answer},
                    NPY: {"schema": {"type": "string", "format": "binary"}},
                },
            },
            **_refused(refused),
        },
    }  # fmt: skip


def _cell(service, ability):
    """Return the schema of one value of a row; null is a missing one."""
    if service.takes_texts:
        return {"type": ["number", "string", "boolean", "null"]}
    if ability.endpoint.name == "score" and service.is_binary:
        return {"enum": [0, 1]}
    cell = {"type": ["number", "null"] if ability.takes_gaps else "number"}
    low, high = service.range_of_values
    return {**cell, "minimum": low, "maximum": high}


def schema_of(field):
    """Return the JSON schema of a field."""
    if field.holds == "integer":
        schema = {"type": "integer", "minimum": field.low, "maximum": field.high}
    elif field.holds == "flag":
        schema = {"type": "boolean"}
    elif field.holds == "choice":
        schema = {"type": "string", "enum": list(field.choices)}
    else:
        label = {"enum": list(field.choices)}
        labels = {"type": "array", "minItems": 1, "maxItems": field.high, "items": label}
        schema = {"anyOf": [label, labels]}
    schema["description"] = field.about
    if field.default is not None:
        schema["default"] = field.default
    return schema


def _refused(statuses):
    schema = {"schema": {"$ref": "#/components/schemas/Refusal"}}
    return {
        str(status): {"description": _REFUSALS[status], "content": {JSON: schema}}
        for status in statuses
    }


def _refusal():
    text = {"type": ["string", "null"]}
    properties = {
        "status": {"type": "integer"}, "message": {"type": "string"}, "field": text,
        "expected": text, "got": text, "row": {"type": "integer"}, "column": {"type": "integer"},
    }  # fmt: skip
    return {
        "type": "object",
        "properties": {
            "error": {
                "type": "object", "properties": properties,
                "required": ["status", "message", "field", "expected", "got"],
            }
        },
        "required": ["error"],
    }  # fmt: skip
