"""Draw all figures of the documentation again: make figures."""

from __future__ import annotations

import coordinates
import data_flow
import decode_once
import features
import growth
import report
import ring
import scaling
import speed
import tissue
import trained


def main() -> None:
    for figure in (
        coordinates,
        data_flow,
        decode_once,
        features,
        growth,
        report,
        ring,
        scaling,
        speed,
        tissue,
        trained,
    ):
        figure.main()


if __name__ == "__main__":
    main()
