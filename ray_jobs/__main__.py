"""`python -m ray_jobs <job>`. Exit codes: 0 done, 1 the run failed, 2 wrong usage or configuration."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

# Each job is a module with `main(argv) -> exit code`, imported only when asked for.
JOBS = {
    "generate": "make pairs: every stage of every route in a configuration",
    "plan": "say what a run will take and cost, before it starts",
    "status": "say how far a run is, from anywhere",
    "rejudge": "decide again with another profile of thresholds; pictures and scores stay",
    "replay": "make a pair again from its row, and lay it beside what was stored",
    "publish": "make an immutable version of a dataset from the accepted pairs of runs",
    "verify": "check every file of a dataset against its manifest",
    "prune": "delete a run's folders that are no longer current; asks first",
    "export": "write a published dataset in another form: tar files for webdataset",
    "push": "put a published dataset onto the Hugging Face Hub",
    "serve": "look at pairs in a browser: a dataset's, or a run's while it goes on; or edit pictures",
    "train": "teach an editor from a published dataset",
    "evaluate": "try editors on sets of edits, and say how often each is right",
    "finetune-llm": "teach a language model to write edits",
    "doctor": "say what is installed, which stages can run here, and what to do about the others",
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ray_jobs",
        description="SpatialPix: data that teaches an image editor space.",
        epilog="jobs:\n"
        + "\n".join(f"  {name:<12} {what}" for name, what in JOBS.items())
        + "\n\n'python -m ray_jobs JOB --help' says more. A cluster is used where RAY_ADDRESS is set.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("job", metavar="JOB", choices=JOBS, help="one of the jobs below")
    arguments = list(sys.argv[1:] if argv is None else argv)
    job = parser.parse_args(arguments[:1]).job
    return int(importlib.import_module(f"ray_jobs.{job.replace('-', '_')}").main(arguments[1:]) or 0)


if __name__ == "__main__":
    sys.exit(main())
