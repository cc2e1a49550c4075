"""MovieNet-SSeg: shots and scene labels of films, and features of them by their subtitles."""
