"""Print the table of results and how to open the dashboard: `python -m pipelines.summary [picture.png]`."""

import sys
from pathlib import Path

from rich.console import Console

from pipelines.stage import ROOT
from triptych.errors import TriptychError
from triptych.report.summary import overview, summary_table


def main() -> None:
    console = Console()
    try:
        console.print(summary_table(ROOT))
        for target in sys.argv[1:]:
            overview(ROOT, Path(target))
    except TriptychError as error:
        sys.exit(f"error: {error}")
    console.print("Compare runs in the browser:  [bold]make dashboard[/bold]")


if __name__ == "__main__":
    main()
