"""What part of the limit whole runs reach, out of speed.json, which is a users.json."""

from __future__ import annotations

import io
import json

from benchmarks.users_plot import draw
from style import HERE, save_picture

DATA = HERE / "speed.json"


def main() -> None:
    """Draw it, if it has been measured."""
    if not DATA.exists():
        return
    drawn = io.BytesIO()
    draw(json.loads(DATA.read_text(encoding="utf-8"))["results"], drawn)
    save_picture(drawn, "speed.png")


if __name__ == "__main__":
    main()
