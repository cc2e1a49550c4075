"""Training of the scene task: what ``megaseg train`` runs. Needs the extra ``megaseg[train]``."""
