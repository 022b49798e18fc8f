"""Reading request bodies and writing JSON answers: what all handlers share."""

from typing import Any

from aiohttp import web

from devcluster.apiserver.errors import StatusError, bad_request
from devcluster.apiserver.negotiation import JSON, decode_body
from devcluster.apiserver.objects import JsonObject, encode


def json_response(
    document: Any, code: int = 200, content_type: str = JSON, headers: dict[str, str] | None = None
) -> web.Response:
    """Return a document (or its bytes) as an HTTP answer."""
    body = document if isinstance(document, bytes) else encode(document)
    return web.Response(body=body, status=code, headers={**(headers or {}), "Content-Type": content_type})


def status_response(error: StatusError) -> web.Response:
    """Return an error as an HTTP answer."""
    retry = (error.details or {}).get("retryAfterSeconds")
    return json_response(error.body(), error.code, headers={"Retry-After": str(retry)} if retry else None)


async def read_body(request: web.Request) -> Any:
    """Return the decoded body, None where it is empty. Raises `StatusError` 400 or 415."""
    try:
        return decode_body(await request.read(), request.headers.get("Content-Type", ""))
    except UnicodeDecodeError as error:
        raise bad_request(f"the body of the request is not UTF-8: {error}") from error


async def body_object(request: web.Request) -> JsonObject:
    """Return the body, which must be one object. Raises `StatusError` 400 or 415."""
    document = await read_body(request)
    if not isinstance(document, dict):
        raise bad_request("the body of the request is not a JSON object")
    return document
