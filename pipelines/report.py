"""Write the results as one page: `make report`, or `python -m pipelines.report [page.html]`."""

import sys
from pathlib import Path

from rich.console import Console

from pipelines.stage import ROOT
from triptych.errors import TriptychError
from triptych.report.page import write_page


def main() -> None:
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "reports/index.html"
    try:
        write_page(ROOT, target)
    except TriptychError as error:
        sys.exit(f"error: {error}")
    Console().print(f"The report:  [bold]{target}[/bold]", soft_wrap=True)


if __name__ == "__main__":
    main()
