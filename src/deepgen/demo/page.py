"""The page on which one draws, as routes of a service: three files, facts, and a WebSocket."""

from importlib import resources

from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute

# Nothing comes from elsewhere, and no text of the page can become a script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}


def page_routes(parlour):
    """Return the routes of the page, to stand beside those of a service.

    Parameters
    ----------
    parlour : Parlour

    Returns
    -------
    list of Route and WebSocketRoute
    """
    folder = resources.files("deepgen.demo") / "page"
    routes = []
    for path, (name, media_type) in FILES.items():
        answer = _file_endpoint((folder / name).read_bytes(), media_type)
        routes.append(Route(path, answer, methods=["GET"]))

    async def facts(request):
        return JSONResponse(parlour.models.facts)

    return [
        *routes,
        Route("/facts.json", facts, methods=["GET"]),
        WebSocketRoute("/talk", parlour.receive),
    ]


def _file_endpoint(content, media_type):
    headers = {"Content-Security-Policy": POLICY}

    async def answer(request):
        return Response(content, media_type=media_type, headers=headers)

    return answer
