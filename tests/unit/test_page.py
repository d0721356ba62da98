"""The report: complete from the results folders alone, in one file, readable on a phone and in the dark."""

import base64
import html
import re
import string
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tests.browser import chromium, needs_chromium
from triptych.data.files import write_json
from triptych.errors import DataError
from triptych.report.page import FIGURES, write_page
from triptych.report.summary import ROWS
from triptych.tracking.chain import seal

MADE = tuple(figure for figure in FIGURES if not figure.path.startswith("multirun"))
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a4944415478da63600000000200015d0b2ae40000000049454e44ae426082"
)
CLAIMS = {
    "privacy": {"epsilon": 9.9973, "delta": 1e-5, "not_covered": ["target <images>", "accuracy"]},
    "accuracy": {"target_accuracy": 0.7333, "on": "180 images"},
    "board": {"name": "stm32f746", "peak_sram": 5464, "flash": 24332, "instructions": 1628743},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Results in which the n-th number of the table is 1000 + n."""
    count, metrics = 1000, {}
    for row in ROWS:
        for _, key, form, _ in string.Formatter().parse(row.template):
            if key:
                count += 1
                value = count if form is not None and form.endswith(",") else float(count)
                metrics.setdefault(row.file, {}).setdefault(key, "gdp" if form == "" else value)
    for folder, values in metrics.items():
        write_json(tmp_path / folder / "metrics.json", values)
        write_json(tmp_path / folder / "run.json", {"stage": folder.replace("/", "_")})
    write_json(tmp_path / "data/prepared/real/card.json", {"name": "digits"})
    link = {"stage": "private_train", "wrote": {"generator": "ab" * 32}, "digest": "cd" * 32}
    write_json(tmp_path / "out/hinge/chain/certificate.json", seal(CLAIMS, [link]))
    write_json(tmp_path / "out/hinge/chain/certificate.sig.json", {"public_key": "ef" * 32})
    for figure in MADE:
        (tmp_path / figure.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / figure.path).write_bytes(PNG)
    return tmp_path


@pytest.fixture
def swept(root: Path) -> Path:
    """The same after sweeps: three seeds of panels and chain, two ablations, self-training over two seeds."""
    (root / "multirun/seeds").mkdir(parents=True)
    (root / "multirun/seeds/sweep.csv").write_text("seed,board_accuracy\n0,0.90\n1,0.92\n2,0.97\n")
    (root / "multirun/chain_seeds").mkdir()
    chain = "seed,board_accuracy,peak_sram\n0,0.70,3000\n1,0.72,4000\n2,0.74,5000\n"
    (root / "multirun/chain_seeds/sweep.csv").write_text(chain)
    for target in ("hinge_ablation", "hinge_ablation_usps"):
        write_json(
            root / f"multirun/{target}/ablation.json",
            {"chain": {"target_accuracy": 0.72, "sd": 0.02, "seeds": 3}},
        )
    for seed in range(2):
        job = {"setting": "paper/cmnist97", "overrides": [], "objectives": ["entropy"], "seed": seed}
        job |= {"trust": False, "cpu_seconds": 1.0, "selection_score_entropy": 0.5}
        accuracies = {"target_accuracy_before": 0.73, "target_accuracy_entropy": 0.65 + seed / 50}
        write_json(root / f"multirun/robust_table/paper/cmnist97/{seed}/metrics.json", {**job, **accuracies})
    return root


def page(root: Path) -> str:
    write_page(root, root / "index.html")
    return (root / "index.html").read_text()


def test_every_row_figure_and_claim_is_on_the_page(root: Path):
    """A number that exists only in a results folder is not reported."""
    text = page(root)
    for row in ROWS:
        assert row.label in text
        assert f"dvc repro {row.file.replace('/', '_')}" in text
    for figure in MADE:
        assert html.escape(figure.title) in text.replace("&#39;", "&#x27;")
    assert "9.997" in text
    assert f"signed by <code>{'ef' * 8}…" in text
    assert "73.3%" in text
    assert "5,464" in text
    assert "target &lt;images&gt;" in text, "values from files are text, not markup"
    assert FIGURES[0].title not in text, "a figure that was not made is left out"


def test_spread_over_seeds_stands_beside_the_run_and_the_papers_numbers(swept: Path):
    """One seed is no result; 0.90, 0.92, 0.97 are 93.0 ± 3.6."""
    text = page(swept)
    assert "93.0% ± 3.6%, 3 seeds" in text
    assert "72.0% ± 2.0%, 3 seeds" in text, "the chain's own seeds"
    assert "4,000 ± 1,000, 3 seeds" in text
    assert re.search(
        r"paper/cmnist97 entropy</th><td>73\.0 ± 0\.0</td><td class=\"value\">66\.0 ± 1\.4</td>.*72 → 67",
        text,
    )
    assert text.count("+sweep=hinge_ablation</code>") == 1
    assert text.count("+sweep=hinge_ablation_usps</code>") == 1


def test_no_column_of_spreads_before_there_are_any(root: Path):
    """Empty columns make people look for what is missing."""
    assert "over seeds" not in page(root)


def test_page_needs_no_other_file_and_no_network(root: Path):
    """It is mailed, archived, opened years later."""
    text = page(root)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert not re.search(r"https?://|@import|url\(", text)
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert [base64.b64decode(each) for each in pictures] == [PNG] * len(MADE)


def test_same_results_give_the_same_page(root: Path):
    """No dates: the page can be compared and archived."""
    assert page(root) == page(root)


def test_missing_result_is_named(root: Path):
    """Before the first `make repro`, people get the command."""
    (root / "out/hinge/chain/certificate.json").unlink()
    with pytest.raises(DataError, match=r"certificate\.json does not exist; run"):
        page(root)


@needs_chromium
@pytest.mark.parametrize("dark", [True, False], ids=["dark", "light"])
def test_phone_shows_the_page_without_scrolling_sideways(swept: Path, dark: bool):
    """390 pixels wide, in both colour schemes, as a browser lays it out; what is written can be read."""
    write_page(swept, swept / "index.html")
    with chromium(swept) as browser:
        browser.look_like(width=390, height=844, dark=dark, phone=True)
        browser.open((swept / "index.html").as_uri())
        browser.until_it_says("Certificate", ROWS[0].label, "Self-training, like with like")
        assert browser.ask("document.documentElement.scrollWidth") <= 390
        paper, ink = (luminance(browser.ask(f"getComputedStyle(document.body).{name}")) for name in COLOURS)
        browser.screenshot(swept / "phone.png")
    assert (paper < ink) == dark
    assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) > 7, "contrast of WCAG's level AAA"
    picture = imread(swept / "phone.png")
    assert np.median(picture[..., :3]) == pytest.approx(paper**0.45, abs=0.12), "the screen is of this scheme"


COLOURS = ("backgroundColor", "color")


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)` (WCAG 2, its gamma as the power 2.2)."""
    red, green, blue = ((int(each) / 255) ** 2.2 for each in re.findall(r"\d+", colour)[:3])
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
