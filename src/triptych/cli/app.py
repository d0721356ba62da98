"""The command `triptych`: what is there, what a config promises, what was reached.

Errors end in one line with the fix; `--debug` shows the traceback instead.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from triptych.errors import TriptychError

app = typer.Typer(
    help="Private samples, robust classifiers, tiny firmware: what a checkout can do and has done.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="The pipeline itself: `make repro`, `dvc repro`, `python -m pipelines.<stage>`.",
)
certificate = typer.Typer(help="Verify and sign the chain's certificate.", no_args_is_help=True)
app.add_typer(certificate, name="certificate")
CERTIFICATE = Path("out/hinge/chain/certificate.json")
Root = Annotated[Path, typer.Option("--root", help="the checkout", exists=True, file_okay=False)]
File = Annotated[Path, typer.Argument(help="the certificate; its artefacts lie below --root")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Hydra overrides on conf/", metavar="[KEY=VALUE]...")
]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    """Options of every command; `run` reads them."""


@app.command(epilog="Example:  triptych doctor")
def doctor(root: Root = Path()) -> None:
    """Say what is installed, which data, boards and processors there are, with the fix for each lack."""
    from triptych.cli.doctor import examine, findings_table

    findings = examine(root)
    Console().print(findings_table(findings))
    if any(finding.needed and not finding.there for finding in findings):
        raise typer.Exit(1)


@app.command(epilog="Example:  triptych data")
def data(root: Root = Path()) -> None:
    """List the prepared data sets with their sizes, sources and licences."""
    from triptych.cli.tables import data_table

    Console().print(data_table(root))


@app.command(epilog="Example:  triptych privacy private.noise_multiplier=30 private.steps=1000")
def privacy(overrides: Overrides = None, root: Root = Path()) -> None:
    """Print the whole privacy statement of a config, without training."""
    from triptych.cli.configuration import composed
    from triptych.private.statement import privacy_statement
    from triptych.report.statement import statement_table

    Console().print(statement_table(privacy_statement(composed(root, overrides or []).private)))


@app.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    epilog="Example:  triptych engine model.tflite --board stm32f746 --out firmware/",
)
def engine(context: typer.Context) -> None:
    """Turn an int8 .tflite network into checked firmware (the same as triptych-engine)."""
    from triptych.deploy.cli import main as engine_main

    raise typer.Exit(engine_main(context.args, debug=context.find_root().params["debug"]))


@app.command(epilog='Example:  triptych runs "metrics.epsilon < 10"')
def runs(
    query: Annotated[str, typer.Argument(help="an MLflow search, such as 'metrics.peak_sram < 320000'")] = "",
    uri: Annotated[str | None, typer.Option(help="the store; default as in conf/tracking")] = None,
    limit: Annotated[int, typer.Option(min=1, help="most rows")] = 30,
    root: Root = Path(),
) -> None:
    """Show a table of the runs in the MLflow store, the newest first."""
    from triptych.cli.configuration import composed
    from triptych.cli.tables import runs_table

    settings = composed(root, []).tracking
    Console().print(runs_table(uri or settings.uri, settings.experiment, query, limit))


@certificate.command(epilog="Example:  triptych certificate verify --public-key 3b6a27bc…")
def verify(
    file: File = CERTIFICATE,
    public_key: Annotated[str | None, typer.Option(help="whose signature is expected, 64 hex digits")] = None,
    root: Root = Path(),
) -> None:
    """Compare every artefact of the chain with the certificate, and check the signature.

    Without --public-key the signature must be that of this machine's key, where it has one.
    """
    from triptych.data.files import read_json
    from triptych.tracking import signature
    from triptych.tracking.chain import verify as verify_chain

    files = verify_chain(read_json(root / file), root)
    own = signature.own_key()
    expected = public_key or (signature.public_key(own) if own.exists() else None)
    signer = signature.verify_signature(root / file, expected)
    known = "" if expected else ", whoever that is: name whom you expect by --public-key"
    said = f"signed by {signer}{known}" if signer else "not signed"
    Console().print(f"{files} artefacts are what the certificate says; {said}", soft_wrap=True)


@certificate.command(epilog="Example:  triptych certificate sign --key ~/triptych.pem")
def sign(
    key: Annotated[
        Path | None, typer.Option(help="private key, PEM, Ed25519; default this machine's")
    ] = None,
    file: File = CERTIFICATE,
    root: Root = Path(),
) -> None:
    """Sign the certificate's digest once more, by another key; the pipeline has signed it already."""
    from triptych.tracking import signature

    signer = signature.sign(root / file, key or signature.ensure_own_key())
    Console().print(f"signed by {signer}", soft_wrap=True)


@certificate.command(epilog="Example:  triptych certificate key")
def key(
    file: Annotated[
        Path | None, typer.Argument(help="where to write a new private key; default this machine's key")
    ] = None,
) -> None:
    """Print this machine's public key, which others need to check; make it where there is none."""
    from triptych.tracking import signature

    public = signature.create_key(file) if file else signature.public_key(signature.ensure_own_key())
    Console().print(f"public key {public}", soft_wrap=True)


def run(arguments: list[str] | None = None) -> int:
    """The entry point: returns the exit status, and turns errors into one line."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app(given, prog_name="triptych")
    except SystemExit as stop:
        return int(stop.code or 0)
    except TriptychError as error:
        if "--debug" in given:
            raise
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # the command's answer
        return 1
    return 0
