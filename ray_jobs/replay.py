"""`replay`: makes a pair again from its row, and shows stored and remade side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray_jobs.config import Config, ConfigError, one_line
from ray_jobs.job import DONE, parser, run_job

if TYPE_CHECKING:  # `--help` answers without them
    import numpy as np
    from numpy.typing import NDArray

    from shards.run import Run

    Pixels = NDArray[np.uint8]


def main(argv: Sequence[str] | None = None) -> int:
    options = parser("replay", "Make a pair of a run again from its row, and lay it beside what was stored.")
    options.add_argument("--run", required=True, metavar="URI", help="a run folder")
    options.add_argument("--pair", required=True, metavar="ID", help="the pair_id of a pair made from words")
    options.add_argument(
        "--out", metavar="FILE", help="the picture (default: ID.png); above as stored, below remade"
    )
    options.add_argument(
        "--model", metavar="DIR", help="the diffusion model, where it does not lie where the run had it"
    )
    return run_job("replay", _work, options.parse_args(argv))


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """row: of the pairs table. stored: before and after, None where no pictures were kept. remade: the same. verdict,
    reason: of the remade pair."""

    row: Mapping[str, Any]
    stored: tuple[Pixels, Pixels] | None
    remade: tuple[Pixels, Pixels]
    scores: Mapping[str, float | None]
    verdict: str
    reason: str


def _work(arguments: argparse.Namespace) -> int:
    from ray_jobs.rejudge import configuration_of

    config = configuration_of(arguments.run)
    found = replayed(config, arguments.pair, model=arguments.model)
    path = Path(arguments.out or f"{arguments.pair}.png")
    _sheet(found).save(path)
    for line in told(found):
        print(line)
    print(f"done: {path}")
    return DONE


def replayed(config: Config, pair_id: str, *, model: str | None = None) -> Replayed:
    """Raises ConfigError for a pair that the run has not, or that was not made from words."""
    from shards.run import Run
    from shards.storage import open_storage

    run = Run.open(open_storage(config.out))
    row = _row_of(run, pair_id)
    if row["source"] != "p2p":
        raise ConfigError(
            f"--pair {pair_id}: was made by {row['source']}; only pairs made from words are replayed"
        )
    if row["seed"] is None:
        raise ConfigError(f"--pair {pair_id}: no picture of it was ever made ({row['reason']})")
    route = config.routes.p2p
    if route is None or config.clip is None:
        raise ConfigError(f"{config.out}: run.yaml has no routes.p2p")

    from generators.batch import Draw
    from generators.diffusion import Diffusion, ModelError, ModelSettings, rounded
    from generators.diffusion_identity import ModelMissing, identity
    from generators.pairs import Candidate, PairSettings, Prompt
    from generators.remake import remade
    from generators.render import load_judge
    from ray_jobs.recipes import routes
    from shards.images import decode

    how = json.loads(row["sampler"]["settings"])
    settings = ModelSettings(
        **route.model.model_dump() | {"device": "auto"} | ({"model": model} if model else {})
    )
    made_by = json.loads(row["provenance"]["details"])["model"]
    try:
        if (here := identity(settings.model, settings.revision)) != made_by:
            raise ConfigError(
                f"{settings.model} is {here}, and the pair was made by {made_by}: give it by --model"
            )
        loaded = Diffusion(settings)
    except (ModelMissing, ModelError) as error:
        raise ConfigError(f"--model: {one_line(error)}") from None
    draw = Draw(how["draw"], row["seed"], how["guidance"], how["share"], how["cross"])
    keys = ("steps", "mode", "max_tokens", "blend")
    pairs = PairSettings(sampler=row["sampler"]["name"], **{key: how[key] for key in keys})
    prompt = Prompt(row["edit_id"], row["original_prompt"], row["edited_prompt"], row["edit_kind"], 0)
    pictures = rounded(remade(loaded, pairs, [(prompt, draw)], slots=1)[0])
    stage = next(r for r in routes(config) if r.name == "p2p").stages[0]
    (judged,) = load_judge(stage.settings)([Candidate(prompt, draw, pictures[0], pictures[1])])
    stored = None
    if row["original_image"] is not None:
        stored = decode(row["original_image"]), decode(row["edited_image"])
    return Replayed(row, stored, (pictures[0], pictures[1]), judged.scores, judged.verdict, judged.reason)


def told(found: Replayed) -> list[str]:
    """What there is to say of it, a line each."""
    row = found.row
    lines = [
        f"pair    {row['pair_id']} ({row['edit_kind']}): {row['edit_prompt']}",
        f"before  {row['original_prompt']}",
        f"after   {row['edited_prompt']}",
        f"draw    seed {row['seed']}, {row['sampler']['name']}, {row['sampler']['settings']}",
    ]
    for name, value in found.scores.items():
        was = (row["scores"] or {}).get(name)
        lines.append(f"{name:18} stored {_figure(was)}, remade {_figure(value)}")
    if found.stored is None:
        lines.append("pictures: none were stored; the remade ones are shown alone")
    else:
        apart = [_psnr(a, b) for a, b in zip(found.stored, found.remade, strict=True)]
        lines.append(
            f"pictures: {apart[0]:.1f} and {apart[1]:.1f} dB apart; the stored ones went through JPEG"
        )
    return [*lines, f"verdict of the remade pair: {found.verdict} {found.reason}".rstrip()]


def _row_of(run: Run, pair_id: str) -> dict[str, Any]:
    from shards.storage import NotFound
    from shards.tables import read_rows, read_table

    for route, folders in run.current().items():
        if "pairs" not in folders or not pair_id.startswith(f"{route}-"):
            continue
        unit = "-".join(pair_id.split("-")[:2])
        key = run.shard_key(folders["pairs"], unit)
        try:
            ids = read_table(run.storage, key, ("pair_id",)).column("pair_id").to_pylist()
        except NotFound:
            continue
        if pair_id in ids:
            row: dict[str, Any] = read_rows(run.storage, key, [ids.index(pair_id)]).to_pylist()[0]
            return row
    raise ConfigError(f"--pair {pair_id}: {run.storage.uri} has no such pair")


def _sheet(found: Replayed) -> Any:
    """Rows of pictures, before and after: stored, and remade."""
    import numpy as np
    from PIL import Image

    rows = [two for two in (found.stored, found.remade) if two is not None]
    gap = np.full((rows[0][0].shape[0], 4, 3), 255, np.uint8)
    lines = [np.concatenate([before, gap, after], axis=1) for before, after in rows]
    between = np.full((4, lines[0].shape[1], 3), 255, np.uint8)
    whole = lines[0] if len(lines) == 1 else np.concatenate([lines[0], between, lines[1]])
    return Image.fromarray(whole)


def _psnr(a: Pixels, b: Pixels) -> float:
    import numpy as np

    error = float(np.mean((a.astype(float) - b.astype(float)) ** 2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"
