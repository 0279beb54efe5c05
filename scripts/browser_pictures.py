"""Makes the pictures of docs/browse.md: the browser's page on a run, in a real browser.

    python -m scripts.browser_pictures --run runs/demo --words "on the right of the green vase"

Needs Debian's Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

WIDTH = 1000  # pixels of the pictures in the docs
MOST_BYTES = 300_000


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--run", default="runs/demo", metavar="URI")
    options.add_argument("--out", type=Path, default=Path("docs"), metavar="FOLDER")
    options.add_argument("--words", required=True, help="what only the instruction of the pair in detail has")
    arguments = options.parse_args()
    from ray_jobs.serve import open_catalogue
    from tests.browser import chromium, served, visit

    catalogue = open_catalogue(None, arguments.run)
    with chromium() as browser, served(catalogue) as address:
        with visit(browser, address) as wide:
            wide.pictures("#sp-pairs")
            _save(wide.page.screenshot, arguments.out / "browse-grid.png", WIDTH)
            wide.page.locator("#sp-text textarea, #sp-text input").fill(arguments.words)
            wide.page.keyboard.press("Enter")
            wide.reads(".sp-range", "1–1 of 1")
            _open(wide)
            for name in ("masks", "boxes"):
                wide.page.get_by_label(name).check()
            wide.pictures("#sp-slider", "image.naturalWidth >= 768")
            wide.page.wait_for_timeout(10_000)  # the second drawing may be under way
            wide.page.evaluate("window.scrollTo(0, 0)")
            _save(wide.page.screenshot, arguments.out / "browse-pair.png", WIDTH)
        with visit(browser, address, width=400, dark=True) as narrow:
            narrow.pictures("#sp-pairs")
            _open(narrow)
            _save(narrow.page.screenshot, arguments.out / "browse-narrow.png", 400)
    return 0


def _open(visit: Any) -> None:
    """The first pair of the grid."""
    visit.page.locator("#sp-pairs .thumbnail-item").nth(0).click()
    visit.pictures("#sp-slider")
    visit.page.wait_for_timeout(500)  # the slider glides to its place


def _save(screenshot: Callable[[], bytes], path: Path, width: int) -> None:
    """The window as a PNG of 256 colours."""
    picture = Image.open(io.BytesIO(screenshot())).convert("RGB")
    size = (width, round(picture.height * width / picture.width))
    small = picture.resize(size, Image.Resampling.LANCZOS)
    small = small.quantize(256, kmeans=4, dither=Image.Dither.FLOYDSTEINBERG)
    small.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB, {size[0]} x {size[1]}")
    if path.stat().st_size > MOST_BYTES:
        sys.exit(f"error: {path} is larger than {MOST_BYTES / 1e3:.0f} kB: choose another run or pair")


if __name__ == "__main__":
    sys.exit(main())
