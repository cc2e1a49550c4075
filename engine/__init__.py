"""megaseg.engine: features in, tracks of scenes and acts out, whichever backend runs the model.

A folder imports those above it, never one below:

===============  ===============================================================================================
``inputs``       features of shots, feature files, modalities
``graph``        a model as nodes, the op table, encoder layers, sequences, exact passes
``model``        checkpoints, what the configs of all families share, one module a family
``tasks``        scores, decisions and tracks, one module a task
``results``      the result of a movie, its JSON, explanations
``backends``     one protocol, one folder a backend
``live``         streams, snapshots, the scheduler
``loading``      the table of backends
``engine``       ``Engine``
===============  ===============================================================================================
"""
