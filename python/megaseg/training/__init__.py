"""Training of scene models and, in ``act``, of act models: what ``megaseg train`` runs. Needs ``megaseg[train]``."""
