"""The page as a service of its own: models, page and HTTP API behind one address."""

from deepgen.demo.machines import FILES
from deepgen.demo.page import page_routes
from deepgen.demo.sessions import Parlour
from deepgen.runtime.threads import available_cores
from deepgen.serving.server import serve
from deepgen.serving.service import Service


def serve_page(models, folder, listening, *, allowed=(), started=None):
    """Serve the page until SIGTERM or Ctrl-C.

    Parameters
    ----------
    models : PageModels
    folder : Path
        Where their files are; the DBM answers under ``/v1/`` too.
    listening : socket
        See :func:`deepgen.serving.server.open_socket`.
    allowed, started
        See :func:`deepgen.serving.server.serve`.

    Returns
    -------
    dict
        See :func:`deepgen.serving.server.serve`.

    Raises
    ------
    KeyboardInterrupt
        After Ctrl-C, when all is ended.
    """
    # log Z takes a while and two cores, and no visitor has asked for it
    service = Service.of_file(folder / FILES["dbm"], without=("score",))
    parlour = Parlour(models, available_cores())
    try:
        return serve(
            service, listening, allowed=allowed, further=page_routes(parlour), started=started
        )
    finally:
        parlour.close()
