"""The boards that the command knows by name, those of `conf/board/`."""

from triptych.config.tiny import BoardConfig

_KIB = 1024
BOARDS: dict[str, BoardConfig] = {
    board.name: board
    for board in (
        BoardConfig("stm32f410", "cortex_m4", sram=32 * _KIB, flash=128 * _KIB),
        BoardConfig("stm32f412", "cortex_m4", sram=256 * _KIB, flash=1024 * _KIB),
        BoardConfig("stm32f746", "cortex_m7", sram=320 * _KIB, flash=1024 * _KIB),
        BoardConfig("stm32h743", "cortex_m7", sram=512 * _KIB, flash=2048 * _KIB),
    )
}
