"""Table, sample grids and curves of runs of `pipelines.private_compare`: `python -m pipelines.rivals FOLDER`.

Writes `private_rivals.csv`, `.md` and two pictures a data set into the folder. The scores
are computed on private data and not covered by epsilon.
"""

import sys
from pathlib import Path

from rich.console import Console

from triptych.data.files import write_atomic
from triptych.errors import TriptychError
from triptych.report.rivals import by_data, grids, markdown, read_runs, write_table
from triptych.report.tradeoff import draw

NAME = "private_rivals"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m pipelines.rivals FOLDER  (such as multirun/2026-11-24/12-00-00)")
    folder = Path(sys.argv[1])
    try:
        runs = read_runs(folder)
        write_table(runs, folder / f"{NAME}.csv")
        text = markdown(runs)
        write_atomic(folder / f"{NAME}.md", text.encode())
        for data, group in by_data(runs).items():
            grids(group, folder / f"{NAME}_{data}_samples.png")
            draw(group, folder / f"{NAME}_{data}_tradeoff.png")
    except TriptychError as error:
        sys.exit(f"error: {error}")
    Console().print(text, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
