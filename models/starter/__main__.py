"""The starter models' recipes: `python -m models.starter COMMAND`. Every step resumes where it stopped."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from models.starter.world import SPLITS

DEFAULT_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "spatialpix" / "starter"


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m models.starter", description=__doc__)
    top.add_argument(
        "--cache", default=str(DEFAULT_CACHE), help="where scenes and checkpoints are kept (%(default)s)"
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    render = commands.add_parser("render", help="render the starter world's scenes into the cache")
    render.add_argument("--split", action="append", choices=sorted(SPLITS), help="default: all")
    render.add_argument(
        "--share", default="0/1", metavar="I/N", help="render every N-th unit from the I-th on"
    )
    return top


def main() -> int:
    options = parser().parse_args()
    if options.command == "render":
        from models.starter.scenes import render
        from shards.storage import open_storage

        share, _, shares = options.share.partition("/")
        cache = open_storage(options.cache).sub("scenes")
        render(cache, options.split or list(SPLITS), int(share), int(shares))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
