"""The loop of a worker process: requests come on stdin, answers go to a file descriptor of their own.

Not to stdout, on which a renderer prints as it likes. The process ends when stdin closes, and when its parent
is
gone, even in the middle of a request: a killed parent leaves no orphan.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from renderers import wire
from spatial.scene import SpatialError


class Server(Protocol):
    device: str  # what it computes on, told with the first answer

    def answer(self, header: wire.Header, arrays: wire.Arrays) -> tuple[wire.Header, wire.Arrays]: ...


def serve(answers: int, parent: int, start: Callable[[dict[str, Any]], Server]) -> None:
    """Answer until stdin closes. The first request is {"op": "start", "settings": ...}.

    answers: file descriptor. parent: process id. An exception is answered as {"reason", "message"}.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    server: Server | None = None
    answer: tuple[wire.Header, wire.Arrays]
    with os.fdopen(answers, "wb") as stream:
        while (request := wire.read(sys.stdin.buffer.read)) is not None:
            try:
                if server is None:
                    server = start(request[0]["settings"])
                    answer = ({"device": server.device}, {})
                else:
                    answer = server.answer(*request)
            except SpatialError as error:
                answer = ({"reason": error.reason, "message": str(error)}, {})
            except Exception as error:
                # This scene's fault, whatever it is: the process can take the next one.
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                answer = ({"reason": "blender_error", "message": text}, {})
            wire.write(stream, *answer)


def _end_with(parent: int) -> None:
    """PR_SET_PDEATHSIG would not do: it fires when the parent's *thread* ends, and callers have thread
    pools."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
