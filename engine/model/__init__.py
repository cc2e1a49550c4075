"""Models: checkpoints, what the configs of all families share, and one module a family."""

from megaseg.engine.model import mega as mega  # a row a family: importing its module registers it
