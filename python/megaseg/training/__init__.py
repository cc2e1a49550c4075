"""Training, what ``megaseg train`` runs (extra ``train``).

``loop`` is the one training loop; ``objectives`` holds the losses, one module each; ``recipes`` says what is trained
with them, one module or folder a command. ``corpus``, ``scaling``, ``state`` and ``config`` are what recipes share.
"""
