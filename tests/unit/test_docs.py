"""A reader copies commands from the documents: what they name must be there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMED = {  # what stands in a document: the file that it means
    r"\bpython -m ((?:pipelines|benchmarks)\.\w+)": lambda name: name.replace(".", "/") + ".py",
    r"\bpython ((?:tests|benchmarks)/[\w/]+\.py)": str,
    r"`(tests/[\w/]+\.py)": str,
    r"\bexperiment=(\w[\w/]*\w)(?![\w/|<{*])": lambda name: f"conf/experiment/{name}.yaml",
    r"\+sweep=(\w+)": lambda name: f"conf/sweep/{name}.yaml",
    r"\bboard=(stm32\w+)": lambda name: f"conf/board/{name}.yaml",
    r"\]\((?!\w+:)([^)#]+)": lambda name: f"{{folder}}/{name}",
}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_names_exists(document: Path) -> None:
    text = document.read_text()
    named = {
        where(match).format(folder=document.parent.relative_to(ROOT))
        for pattern, where in NAMED.items()
        for match in re.findall(pattern, text)
    }
    assert not {name for name in named if not (ROOT / name).exists()}
