"""`serve`: pairs in a browser, those of a published dataset or of a run, also while it goes on; or an editor.

The page asks no other host for anything, and a content security policy says so to the browser. It is meant for people
who may read the data, or use the editor: there is no login, so it listens on this machine alone unless told otherwise.
"""

from __future__ import annotations

import argparse
import gc
import inspect
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ray_jobs.config import ConfigError
from ray_jobs.job import DONE, parser, run_job

if TYPE_CHECKING:
    from ray_jobs.browse import Catalogue

# Gradio's own scripts are inline, and its templates are compiled; but nothing comes from, or goes to, another host.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'"
)


def main(argv: Sequence[str] | None = None) -> int:
    options = parser(
        "serve", "Look at pairs in a browser, those of a published dataset or of a run; or edit pictures."
    )
    what = options.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", metavar="URI", help="a dataset, or one version's folder")
    what.add_argument("--run", metavar="URI", help="a run folder; it may be at work")
    what.add_argument("--model", metavar="DIR", help="an editor that `train` left: edit pictures with it")
    what.add_argument(
        "--survey", metavar="URI", help="an evaluation's folder: ask people which editor is better"
    )
    options.add_argument(
        "--votes",
        metavar="URL",
        help="with --survey: the database (a file in the folder), such as postgresql+psycopg://...",
    )
    options.add_argument(
        "--side",
        type=int,
        metavar="N",
        help="pixels; larger pictures are edited scaled down (what the editor was made for)",
    )
    options.add_argument("--host", default="127.0.0.1", help="where to listen; this machine alone by default")
    options.add_argument("--port", type=int, default=7860, help="7860 by default; 0 for any that is free")
    arguments = options.parse_args(argv)
    if arguments.side is not None and arguments.model is None:
        options.error("--side goes with --model")
    if arguments.votes is not None and arguments.survey is None:
        options.error("--votes goes with --survey")
    return run_job("serve", _ask if arguments.survey is not None else _work, arguments)


def _ask(arguments: argparse.Namespace) -> int:
    """The survey: the only page that is meant for others, and it shows them nothing but their own questions."""
    from ray_jobs.survey_app import application as survey_pages
    from ray_jobs.survey_files import open_survey, votes_of
    from shards.run import Run
    from shards.storage import open_storage

    run = Run.open(open_storage(arguments.survey))
    shown, votes = open_survey(run), votes_of(run, arguments.votes)
    with _listening(arguments.host, arguments.port) as sock:
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        print(f"survey of {len(shown.survey.entries)} edits by {', '.join(shown.survey.editors)}: "
              f"http://{host}:{sock.getsockname()[1]} (Ctrl-C ends it)", flush=True)  # fmt: skip
        _answer(survey_pages(shown, votes), sock)
    votes.close()
    return DONE


def _work(arguments: argparse.Namespace) -> int:
    with (
        _listening(arguments.host, arguments.port) as sock,
        tempfile.TemporaryDirectory(prefix="spatialpix-") as kept,
    ):
        os.environ["GRADIO_TEMP_DIR"] = kept  # before Gradio is loaded: pictures that it was given lie there
        page, title, seen = _editor(arguments) if arguments.model is not None else _catalogue(arguments)
        host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
        address = f"http://{host}:{sock.getsockname()[1]}"
        print(f"{title}: {address} (Ctrl-C ends it)", flush=True)
        if not _is_local(arguments.host):
            print(f"note: whoever reaches this address {seen}; there is no login", flush=True)
        _answer(page, sock)
    return DONE


def _catalogue(arguments: argparse.Namespace) -> tuple[Any, str, str]:
    """The page of pairs, what it is of, and what others could do there."""
    with ThreadPoolExecutor(1) as pool, quick_import():
        opened = pool.submit(open_catalogue, arguments.dataset, arguments.run)
        from ray_jobs.browser_page import build

        catalogue = opened.result()
        return application(build(catalogue)), f"{catalogue.title} in {catalogue.uri}", "sees the pairs"


def _editor(arguments: argparse.Namespace) -> tuple[Any, str, str]:
    """The same of an editor. Loaded before Gradio is: both load the Hub's library, which must be told to stay here."""
    from ray_jobs.editing import open_editor

    editor = open_editor(arguments.model, arguments.side)
    with quick_import():
        from ray_jobs.editor_page import UPLOAD, build

        return application(build(editor), UPLOAD), f"the editor in {editor.folder}", "can edit pictures"


def open_catalogue(dataset: str | None, run: str | None) -> Catalogue:
    """What the command line names. Raises NotFound and StorageError."""
    if run is not None:
        from ray_jobs.browse_run import RunCatalogue
        from shards.run import Run
        from shards.storage import open_storage

        return RunCatalogue(Run.open(open_storage(run)))
    from ray_jobs.browse import DatasetCatalogue
    from shards.dataset import open_dataset

    assert dataset is not None
    return DatasetCatalogue(open_dataset(dataset))


@contextmanager
def quick_import() -> Iterator[None]:
    """Importing Gradio in here takes half the time.

    It writes a stub beside each of its modules whenever it is imported, unless a class has no source file, and it
    loads `mcp` where that is installed, for a server that we do not start. And there is no garbage to collect yet. At
    every event it would ask Matplotlib for its backend, which loads all of that to find one, and sum up the events.
    """
    original, absent, collects = inspect.getfile, "mcp" not in sys.modules, gc.isenabled()

    def getfile(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("no stub for this one")
        return original(thing)

    inspect.getfile = getfile  # type: ignore[assignment]
    if absent:
        sys.modules["mcp"] = None  # type: ignore[assignment]
    os.environ |= {
        "GRADIO_ANALYTICS_ENABLED": "False",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000",
        "MPLBACKEND": "agg",
    }
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
        inspect.getfile = original
        if absent:
            del sys.modules["mcp"]


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens already, so that a browser may come while all the rest is loaded."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"cannot listen on {host}:{port} ({reason}): choose others with --host and --port"
        ) from error
    with sock:
        yield sock


def application(blocks: Any, upload: str = "1kb") -> Any:
    """The page as an ASGI application that asks for nothing from elsewhere. upload: what a file may weigh."""
    import fastapi
    import gradio as gr

    from ray_jobs import browser_html
    from ray_jobs.browser_page import theme

    app = gr.mount_gradio_app(
        fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None), blocks, path="/", theme=theme(),
        css=browser_html.css(), footer_links=[], run_history=False, ssr_mode=False, mcp_server=False,
        enable_monitoring=False, pwa=False, max_file_size=upload, show_error=False,
    )  # fmt: skip
    return _with_policy(app)


def _answer(page: Any, sock: socket.socket) -> None:
    """Answers until somebody ends it."""
    import uvicorn

    config = uvicorn.Config(page, log_level="error", timeout_graceful_shutdown=1, lifespan="on")
    for number in (signal.SIGINT, signal.SIGTERM):
        # The server ends in order at the first, and then raises it once more, which would end us before we cleaned up.
        signal.signal(number, lambda *_: None)
    uvicorn.Server(config).run(sockets=[sock])


def _with_policy(app: Any) -> Any:
    """The application, each of its answers with the policy."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = {
                    "content-security-policy": POLICY,
                    "referrer-policy": "no-referrer",
                    "x-content-type-options": "nosniff",
                }
                message["headers"] = [
                    *message["headers"],
                    *((k.encode(), v.encode()) for k, v in headers.items()),
                ]
            await send(message)

        await app(scope, receive, send_with_policy)

    return answer


def _is_local(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")
