"""The command line: ``megaseg segment``, ``compile``, ``info``, ``train`` and the rest, one module a command."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from megaseg._version import __version__
from megaseg.cli import (
    catalog,
    compile,
    convert,
    diff,
    doctor,
    embed,
    evaluate,
    explain,
    export,
    export_inference_server,
    features,
    formats,
    index,
    info,
    mine_pairs,
    mux,
    pretrain,
    profile,
    redecide,
    report,
    results,
    segment,
    serve,
    shots,
    similar,
    train,
)
from megaseg.cli.console import error_text, print_error
from megaseg.errors import MegasegError
from megaseg.report.text import visible


class _Commands(TyperGroup):
    """Commands whose usage errors, which repeat the arguments, show control characters."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except Exception as error:
            if isinstance(message := getattr(error, "message", None), str):
                error.message = visible(message)  # type: ignore[attr-defined]
            raise


app = typer.Typer(
    name="megaseg",
    cls=_Commands,
    help="Scenes and acts of films, screenplays, and features of shots.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("segment")(segment.segment)
app.command("shots")(shots.shots)
app.command("redecide")(redecide.redecide)
app.command("diff")(diff.diff)
app.command("report")(report.report)
app.command("mux")(mux.mux)
app.command("export")(export.export)
app.command("formats")(formats.formats)
app.command("catalog")(catalog.catalog)
app.command("explain")(explain.explain)
app.command("embed")(embed.embed)
app.command("index")(index.index)
app.command("similar")(similar.similar)
app.command("mine-pairs")(mine_pairs.mine_pairs)
app.command("serve")(serve.serve)
app.command("info")(info.info)
app.command("convert")(convert.convert)
app.command("compile")(compile.compile_model)
app.command("export-triton")(export_inference_server.export_inference_server)
app.add_typer(features.app, name="features")
app.add_typer(pretrain.app, name="pretrain")
app.add_typer(train.app, name="train")
app.add_typer(evaluate.app, name="eval")
app.command("profile")(profile.profile_model)
app.command("results")(results.results)
app.command("doctor")(doctor.doctor)


def _version(show: bool) -> None:
    if show:
        print(f"megaseg {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; what the user can mend (input, files) is one line on stderr and exit code 2."""
    try:
        app()
    except (MegasegError, OSError) as error:
        print_error(error_text(error))
        sys.exit(2)
