"""The command `triptych-engine`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.errors import TriptychError

DESCRIPTION = """\
Turn an int8 .tflite network into C for a Cortex-M board: model.c and model.h without heap and
library, kernels, boot code, a CMake project with a recorded test vector, footprint.json and a
picture of the memory. The firmware is compiled, run on a simulated board, and compared with
LiteRT's reference kernels byte for byte before it is written.
"""
EXAMPLE = """\
example:
  triptych-engine model.tflite --board stm32f746 --out firmware/
  triptych-engine model.tflite --board stm32f746 --sram 131072 --inputs images.npy --out firmware/
"""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    from triptych.deploy.boards import BOARDS

    made = argparse.ArgumentParser(
        "triptych-engine",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("model", type=Path, help="an int8 .tflite file")
    where = f"where it shall run: {', '.join(BOARDS)}, or a YAML file like those of conf/board"
    made.add_argument("--board", required=True, help=where)
    made.add_argument("--out", type=Path, required=True, help="folder to write, new or an earlier firmware")
    made.add_argument("--inputs", type=Path, help=".npy file [n, height, width, channels], int8 or float")
    made.add_argument(
        "--check", type=int, default=10, help="inputs compared on the simulated board; 0 only generates (10)"
    )
    made.add_argument(
        "--rounding",
        choices=("tflite", "single"),
        default="tflite",
        help="twice, as TFLite's reference kernels, or once, as XNNPACK (tflite)",
    )
    for key, text in (("sram", "bytes of SRAM"), ("flash", "bytes of flash")):
        made.add_argument(f"--{key}", type=int, help=f"{text}, where yours differs from the board's")
    made.add_argument("--quiet", action="store_true", help="no progress, no summary")
    return made


def main(arguments: list[str] | None = None, *, debug: bool = False) -> int:
    """Run the command; returns its exit status. With `debug` an error keeps its traceback."""
    options = parser().parse_args(arguments)
    try:
        footprint = _run(options)
    except TriptychError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # the command's answer
        return 1
    if not options.quiet:
        _summarise(options, footprint)
    return 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from tqdm import tqdm

    from triptych.deploy.boards import find_board
    from triptych.deploy.generate import STEPS, generate
    from triptych.errors import ConfigError

    sizes = {key: getattr(options, key) for key in ("sram", "flash") if getattr(options, key) is not None}
    board = replace(find_board(options.board), **sizes)
    board.check()
    if options.check < 0:
        raise ConfigError(f"--check {options.check} is negative; give how many inputs to compare")
    with tqdm(total=len(STEPS), disable=options.quiet or None, bar_format="{bar:20} {desc}") as bar:

        def show(step: str) -> None:
            bar.set_description_str(step, refresh=False)
            bar.update(1)

        made = generate(
            options.model,
            board,
            options.out,
            inputs=options.inputs,
            check=options.check,
            rounding=options.rounding,
            progress=show,
        )
    return made.footprint


def _summarise(options: argparse.Namespace, footprint: dict[str, Any]) -> None:
    lines = [
        f"{options.out}: {footprint['macs']:,} MACs for {footprint['board']}",
        f"  arena         {footprint['arena']:>12,} bytes (lower bound {footprint['arena_lower_bound']:,})",
    ]
    if options.check:
        lines += [
            f"  peak SRAM     {footprint['peak_sram']:>12,} bytes of {footprint['board_sram']:,}",
            f"  flash         {footprint['flash']:>12,} bytes of {footprint['board_flash']:,}",
            f"  instructions  {footprint['instructions']:>12,} "
            f"({footprint['instructions_per_mac']:.2f} per MAC)",
            f"  exact on {footprint['inputs_compared']} inputs: simulated board = reference",
            f"  bytes that differ from LiteRT: {footprint['mismatches_litert']}",
        ]
    print("\n".join(lines))  # noqa: T201  # the command's answer


if __name__ == "__main__":
    sys.exit(main())
