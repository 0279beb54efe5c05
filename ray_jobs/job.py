"""What all jobs share: one clear line for what a person can mend, a log file for the rest, an exit code."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ray_jobs.config import ConfigError, one_line
from ray_jobs.logs import ROOMS, Text

DONE, FAILED, USAGE = 0, 1, 2


def parser(name: str, description: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(prog=f"python -m ray_jobs {name}", description=description)


def run_job(name: str, work: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    """Runs the job. Whatever it raises ends as one line on stderr and a trace in the log file."""
    with _log_to_file(name) as log_file:
        return _run(work, arguments, log_file)


def _run(work: Callable[[argparse.Namespace], int], arguments: argparse.Namespace, log_file: str) -> int:
    from ray_jobs.driver import RunFailed, Stopped
    from shards.lease import LeaseHeld
    from shards.storage import NotFound, StorageError

    try:
        return work(arguments)
    except (ConfigError, NotFound) as error:
        return _end(USAGE, one_line(error))
    except StorageError as error:
        wrong_place = error.reason in ("wrong_scheme", "no_such_bucket", "bad_path")
        return _end(USAGE if wrong_place else FAILED, one_line(error))
    except (RunFailed, LeaseHeld) as error:
        logging.getLogger(__name__).exception("the run failed")
        return _end(FAILED, f"{one_line(error)} (log: {log_file})")
    except (Stopped, KeyboardInterrupt, SystemExit):  # the last from Ray's own handler, while Ray starts
        return _end(FAILED, "stopped; what is done stays done: submit the same command again to go on")
    except Exception as error:
        logging.getLogger(__name__).exception("unexpected")
        return _end(FAILED, f"unexpected {type(error).__name__}: {one_line(error)} (log: {log_file})")


def _end(code: int, line: str) -> int:
    print(f"error: {line}", file=sys.stderr, flush=True)
    return code


@contextmanager
def _log_to_file(name: str) -> Iterator[str]:
    """Traces of our own rooms go to a fresh file in the temporary folder; its path, for the error line. A file that
    nothing was written to is not left there."""
    logging.raiseExceptions = False  # a full disk must not print a trace for each line that it refuses
    try:
        folder = Path(tempfile.mkdtemp(prefix=f"spatialpix-{name}-"))
    except OSError:
        yield "none: no temporary folder can be written"
        return
    handler = logging.FileHandler(folder / "log.txt", delay=True, encoding="utf-8")
    handler.setFormatter(Text())
    loggers = [logging.getLogger(room) for room in ROOMS]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield str(folder / "log.txt")
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
        with suppress(OSError):  # it is not empty
            folder.rmdir()
