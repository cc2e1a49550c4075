"""``megaseg train``: one row a recipe."""

from __future__ import annotations

import typer

from megaseg.cli.train_act import act
from megaseg.cli.train_head import head
from megaseg.cli.train_movie_similarity import movie_similarity
from megaseg.cli.train_reader import reader
from megaseg.cli.train_scene import scene
from megaseg.cli.train_video_scenes import video_scenes

app = typer.Typer(help="Train a model on labelled features, or on what is known of movies.", no_args_is_help=True)
app.command("scene")(scene)
app.command("act")(act)
app.command("reader")(reader)
app.command("video-scenes")(video_scenes)
app.command("head")(head)
app.command("movie-similarity")(movie_similarity)
