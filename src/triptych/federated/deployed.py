"""The apps that `flwr run` starts on a SuperLink and its SuperNodes; see docs/federated.md.

A SuperNode names its folder by `--node-config 'folder="<path>"'`, the run the server's by
`--run-config 'folder="<path>"'`.
"""

from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from triptych.data.files import write_json
from triptych.data.weights import save_weights
from triptych.federated.agreement import read_party
from triptych.federated.clients import make_client_app
from triptych.federated.server import serve
from triptych.privacy.certificate import issue
from triptych.private.budget import terms

client_app = make_client_app(None)
server_app = ServerApp()


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    party = read_party(Path(str(context.run_config["folder"])))
    released, history = serve(party, grid)
    generator = party.folder / "generator.safetensors"
    save_weights(generator, released)
    ledger = party.folder / "ledger.jsonl"
    promise = terms(party.private)
    certificate = issue(promise, ledger=ledger, generator=generator, steps_taken=len(history))
    write_json(party.folder / "rounds.json", history)
    write_json(party.folder / "certificate.json", certificate)  # last: the run is complete
