"""Search for scenes: an index of scene vectors on disk, scenes that are most like one, and why they are.

>>> index = SceneIndex.open("index/")
>>> [(hit.title, hit.scene, hit.distance) for hit in index.nearest(index.vector("film", 12), 10, without="film")]
"""

from megaseg.search.index import Hit, SceneIndex
from megaseg.search.writer import IndexWriter

__all__ = ["Hit", "IndexWriter", "SceneIndex"]
