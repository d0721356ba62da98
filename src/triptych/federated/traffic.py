"""What a training moved: totals, and one client's part of one round."""

from collections.abc import Mapping, Sequence

from triptych.federated.agreement import Party

COUNTED = ("answered", "silent", "refused", "over_norm", "bytes_down", "bytes_up")


def summarise(rounds: Sequence[Mapping[str, int]], server: Party) -> dict[str, int | float]:
    """Bytes of all messages, and a client's round trip: what is down and up, divided by who was there."""
    total = {name: sum(row[name] for row in rounds) for name in COUNTED}
    present = max(total["answered"] + total["refused"], 1)
    return {
        "clients": server.own.clients,
        "rounds": len(rounds),
        "bytes_down": total["bytes_down"],
        "bytes_up": total["bytes_up"],
        "bytes_per_client_round": (total["bytes_down"] + total["bytes_up"]) / present,
        "answers": total["answered"],
        "answers_missing": total["silent"],
        "answers_refused": total["refused"],
        "answers_over_norm": total["over_norm"],
    }
