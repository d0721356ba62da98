"""The memory map: which tensor lies where in the arena, and for how long."""

from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from triptych.graph.memory import Plan
from triptych.graph.ops import Graph

COLOURS = {"input": "C2", "output": "C3", "tensor": "C0", "scratch": "C1"}


def memory_map(graph: Graph, plan: Plan, path: Path) -> None:
    """Draw every lifetime as a rectangle, operators to the right, bytes of the arena upwards."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for span in plan.lifetimes:
        kind = _kind(graph, span.name)
        corner = (span.first - 0.5, plan.offset(span))
        box = Rectangle(
            corner,
            span.last - span.first + 1,
            span.size,
            facecolor=COLOURS[kind],
            edgecolor="black",
            linewidth=0.8,
            alpha=0.55,
            hatch="//" if span.alias else None,
        )
        axes.add_patch(box)
    for kind, colour in COLOURS.items():
        axes.add_patch(Rectangle((0, 0), 0, 0, facecolor=colour, alpha=0.55, label=kind))
    axes.add_patch(Rectangle((0, 0), 0, 0, facecolor="none", edgecolor="black", hatch="//", label="in place"))
    axes.axhline(plan.peak, color="black", linestyle="--", linewidth=1)
    axes.annotate(f"peak {plan.peak:,} B", (0, plan.peak), (0, 4), textcoords="offset points")
    labels = [f"{index} {type(op).__name__}" for index, op in enumerate(graph.ops)]
    axes.set_xticks(range(len(graph.ops)), labels, rotation=60, ha="right", fontsize="x-small")
    axes.set(
        xlim=(-0.5, len(graph.ops) - 0.5),
        ylim=(0, plan.peak * 1.1),
        ylabel="byte of the arena",
        title=f"Arena of {plan.peak:,} bytes (lower bound {plan.lower_bound:,})",
    )
    axes.legend(loc="upper right", fontsize="small")
    figure.savefig(path, dpi=120)


def _kind(graph: Graph, name: str) -> str:
    if name == graph.input:
        return "input"
    if name == graph.output:
        return "output"
    return "tensor" if name in graph.tensors else "scratch"
