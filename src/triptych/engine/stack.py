"""How deep the stack can become, proved from the machine code of the linked firmware.

Every instruction that moves the stack pointer down counts, whether or not it runs
with the others; a call costs what its deepest callee can need. So the bound may be
too high and is never too low.
"""

from dataclasses import dataclass, field
from pathlib import Path

import capstone
from capstone import arm_const as arm
from capstone.arm import ArmOp

from triptych.engine.elf import Image, read_elf
from triptych.engine.firmware import FLASH_ORIGIN
from triptych.errors import UnsupportedError

ENTRY = "reset"
RAISE = (arm.ARM_INS_POP, arm.ARM_INS_VPOP, arm.ARM_INS_LDM)
ADD, SUBTRACT = (arm.ARM_INS_ADD, arm.ARM_INS_ADDW), (arm.ARM_INS_SUB, arm.ARM_INS_SUBW)
WORD = 4


@dataclass
class _Function:
    frame: int = 0  # bytes
    callees: set[str] = field(default_factory=set)


def stack_bound(elf: Path) -> int:
    """Bytes of stack that no execution of the firmware from its reset exceeds.

    Interrupts are not counted: the firmware enables none. Raises UnsupportedError
    where the code is recursive, calls through a register, or moves the stack pointer
    by an amount that is not in the instruction.
    """
    image = read_elf(elf)
    functions = {name: _read(name, image) for name in image.functions}
    depths: dict[str, int] = {}

    def depth(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise UnsupportedError(f"the stack has no bound: {' -> '.join((*path, name))} is a recursion")
        if name not in depths:
            function = functions[name]
            deepest = max((depth(callee, (*path, name)) for callee in function.callees), default=0)
            depths[name] = function.frame + deepest
        return depths[name]

    return depth(ENTRY, ())


def _read(name: str, image: Image) -> _Function:
    """Frame and callees of one function."""
    found = _Function()
    names = {address: name for name, (address, _) in image.functions.items()}
    start, size = image.functions[name]
    lowered: list[int] = []  # addresses
    for instruction in _disassemble(image, start, start + size):
        if pushed := _pushed(instruction, name):
            found.frame += pushed
            lowered.append(instruction.address)
        target = _target(instruction, name)
        if target in names:
            found.callees.add(names[target])
        elif target is not None and any(target <= address for address in lowered):
            raise _unbounded(instruction, name)  # a loop would lower it again and again
    return found


def _disassemble(image: Image, start: int, end: int) -> list[capstone.CsInsn]:
    """The instructions between two addresses; tables and literals among them are left out."""
    decoder = capstone.Cs(capstone.CS_ARCH_ARM, capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS)
    decoder.detail = True
    edges = [(at, kind) for at, kind in image.marks if start < at < end]
    kinds = [kind for at, kind in image.marks if at <= start]
    spans = zip(
        [start, *(at for at, _ in edges)],
        [*(at for at, _ in edges), end],
        [kinds[-1], *(kind for _, kind in edges)],
        strict=True,
    )
    instructions: list[capstone.CsInsn] = []
    for low, high, kind in spans:
        if kind == "$t":
            decoded = list(decoder.disasm(_flash(image, low, high), low))
            covered = sum(instruction.size for instruction in decoded)
            if covered != high - low:
                raise UnsupportedError(f"the code at {low + covered:#010x} cannot be disassembled")
            instructions += decoded
    return instructions


def _flash(image: Image, low: int, high: int) -> bytes:
    assert low >= FLASH_ORIGIN
    for address, content in image.segments:
        if address <= low and high <= address + len(content):
            return content[low - address : high - address]
    raise AssertionError(f"no segment holds {low:#010x}")


def _pushed(instruction: capstone.CsInsn, function: str) -> int:
    """Bytes by which the instruction lowers the stack pointer; zero where it raises it."""
    operands = instruction.operands
    if arm.ARM_REG_SP not in instruction.regs_access()[1] or instruction.id in RAISE:
        return 0
    match instruction.id:
        case arm.ARM_INS_PUSH:
            return WORD * len(operands)
        case arm.ARM_INS_VPUSH:
            return sum(_width(instruction, operand) for operand in operands)
        case arm.ARM_INS_STMDB:
            return WORD * (len(operands) - 1)
        case arm.ARM_INS_STR | arm.ARM_INS_STRD | arm.ARM_INS_LDR | arm.ARM_INS_LDRD:
            last = operands[-1]
            step = (
                last.mem.disp if last.type == arm.ARM_OP_MEM else -last.imm if last.subtracted else last.imm
            )
            return max(0, -step)
        case operation if operation in ADD + SUBTRACT and operands[-1].type == arm.ARM_OP_IMM:
            return operands[-1].imm * (operation in SUBTRACT)
    raise _unbounded(instruction, function)


def _step(operand: ArmOp) -> int:
    """By how much an access before or after it moves the pointer."""
    if operand.type == arm.ARM_OP_MEM:
        return operand.mem.disp
    return -operand.imm if operand.subtracted else operand.imm


def _width(instruction: capstone.CsInsn, operand: ArmOp) -> int:
    return 8 if str(instruction.reg_name(operand.reg)).startswith("d") else 4


def _target(instruction: capstone.CsInsn, function: str) -> int | None:
    """Where the instruction goes, if it leaves the straight line for an address of its own."""
    operands = instruction.operands
    match instruction.id:
        case arm.ARM_INS_B | arm.ARM_INS_BL if operands[0].type == arm.ARM_OP_IMM:
            return operands[0].imm & ~1
        case arm.ARM_INS_CBZ | arm.ARM_INS_CBNZ:
            return operands[-1].imm & ~1
        case arm.ARM_INS_BX if operands[0].reg == arm.ARM_REG_LR:
            return None  # a return
        case arm.ARM_INS_POP | arm.ARM_INS_TBB | arm.ARM_INS_TBH:
            return None  # a return; a table of places in the same function
    if arm.ARM_REG_PC in instruction.regs_access()[1] or instruction.group(arm.ARM_GRP_JUMP):
        raise _unbounded(instruction, function)
    return None


def _unbounded(instruction: capstone.CsInsn, function: str) -> UnsupportedError:
    text = f"{instruction.mnemonic} {instruction.op_str} at {instruction.address:#010x}"
    return UnsupportedError(f"the stack of {function} has no bound: {text}")
