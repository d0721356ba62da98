"""The report: complete from the results folders alone, in one file, readable on a phone and in the dark."""

import base64
import html
import re
import shutil
import string
import subprocess
from pathlib import Path

import pytest

from triptych.data.files import write_json
from triptych.errors import DataError
from triptych.report.page import FIGURES, write_page
from triptych.report.summary import ROWS
from triptych.tracking.chain import seal

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55"
    "0000000a4944415478da63600000000200015d0b2ae40000000049454e44ae426082"
)
CLAIMS = {
    "privacy": {"epsilon": 9.9973, "delta": 1e-5, "not_covered": ["target <images>", "accuracy"]},
    "accuracy": {"target_accuracy": 0.7333, "on": "180 images"},
    "board": {"name": "stm32f746", "peak_sram": 5464, "flash": 24332, "instructions": 1628743},
}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


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
    for figure in FIGURES[1:]:
        (tmp_path / figure.path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / figure.path).write_bytes(PNG)
    return tmp_path


def page(root: Path) -> str:
    write_page(root, root / "index.html")
    return (root / "index.html").read_text()


def test_every_row_figure_and_claim_is_on_the_page(root: Path):
    """A number that exists only in a results folder is not reported."""
    text = page(root)
    for row in ROWS:
        assert row.label in text
        assert f"dvc repro {row.file.replace('/', '_')}" in text
    for figure in FIGURES[1:]:
        assert html.escape(figure.title) in text.replace("&#39;", "&#x27;")
    assert "9.997" in text
    assert "73.3%" in text
    assert "5,464" in text
    assert "target &lt;images&gt;" in text, "values from files are text, not markup"
    assert FIGURES[0].title not in text, "a figure that was not made is left out"


def test_page_needs_no_other_file_and_no_network(root: Path):
    """It is mailed, archived, opened years later."""
    text = page(root)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert not re.search(r"https?://|@import|url\(", text)
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", text)
    assert [base64.b64decode(each) for each in pictures] == [PNG] * len(FIGURES[1:])


def test_same_results_give_the_same_page(root: Path):
    """No dates: the page can be compared and archived."""
    assert page(root) == page(root)


def test_missing_result_is_named(root: Path):
    """Before the first `make repro`, people get the command."""
    (root / "out/hinge/chain/certificate.json").unlink()
    with pytest.raises(DataError, match=r"certificate\.json does not exist; run"):
        page(root)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here (Debian: apt install chromium)")
@pytest.mark.parametrize(("scheme", "dark"), [(0, True), (1, False)], ids=["dark", "light"])
def test_phone_shows_the_page_without_scrolling_sideways(root: Path, scheme: int, dark: bool):
    """390 pixels wide, in both colour schemes, as a browser lays it out."""
    probe = (
        "<script>document.title = [document.documentElement.scrollWidth, "
        "getComputedStyle(document.body).backgroundColor].join('|')</script></body>"
    )
    (root / "probe.html").write_text(page(root).replace("</body>", probe))
    command = [
        str(CHROMIUM),
        *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=500,900"),
        *(
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
        ),
        *(f"--user-data-dir={root}/profile", f"--blink-settings=preferredColorScheme={scheme}"),
        *("--dump-dom", str(root / "frame.html")),
    ]
    # a window cannot be narrower than 500 pixels, a frame can
    frame = '<iframe id="f" src="probe.html" width="390" height="800"></iframe>'
    script = "<script>onload = () => { document.title = f.contentDocument.title }</script>"
    (root / "frame.html").write_text(f"<!doctype html><title></title>{frame}{script}")
    command.insert(1, "--allow-file-access-from-files")
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    title = re.search(r"<title>(\d+)\|rgb\((\d+), \d+, \d+\)</title>", done.stdout)
    assert title, done.stdout[:500] + done.stderr[-500:]
    assert int(title[1]) <= 390
    assert (int(title[2]) < 60) == dark
