"""The peak SRAM, proved: the firmware runs in that much memory and faults in a page less."""

from pathlib import Path

from triptych.config.tiny import BoardConfig
from triptych.data.files import write_atomic
from triptych.engine.firmware import linker_script
from triptych.engine.simulate import PAGE, Simulator
from triptych.engine.toolchain import build_firmware
from triptych.errors import FaultError


def prove_peak(folder: Path, scratch: Path, board: BoardConfig, *, stack: int) -> int:
    """Bytes of RAM, in whole pages, that suffice while one page less does not.

    Links the sources in `folder` again, into `scratch`, with a stack of `stack`
    bytes (the measured depth) and maps only the pages that this firmware occupies.
    Raises FaultError where it does not run in them, or still runs in less.
    """
    rounded = -(-stack // 8) * 8
    script = scratch / "proof.ld"
    write_atomic(script, linker_script(board, stack=rounded).encode())
    elf = build_firmware(folder, scratch / "proof.elf", board, linker_script=script)
    needed = rounded + Simulator(elf, board).image.static_sram
    pages = -(-needed // PAGE)
    if status := Simulator(elf, board, sram=pages * PAGE).boot():
        raise FaultError(f"{status} output bytes of the self-test differ with {pages * PAGE} bytes of RAM")
    try:
        Simulator(elf, board, sram=(pages - 1) * PAGE).boot()
    except FaultError:
        return pages * PAGE
    raise FaultError(f"the firmware claims {needed} bytes of RAM but runs in {(pages - 1) * PAGE}")
