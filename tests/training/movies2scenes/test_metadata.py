"""Metadata of pairs of movies: what each reader makes of tables written here, and what it says of bad ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from megaseg.errors import FeatureError
from megaseg.training.recipes.movie_similarity.metadata import co_watch, synopsis
from megaseg.training.recipes.movie_similarity.metadata.registry import read_pairs
from megaseg.training.recipes.movie_similarity.pairs import MoviePairs

NAMES = ["tt0000001", "tt0000002", "tt0000003", "tt0000004"]
LINKS = "1,0000001,5\n2,0000002,6\n3,0000003,7\n4,0000004,8\n5,0009999,9\n"
MOVIES = (
    "1,One (1999),Drama|War\n2,Two (1998),War|Drama\n3,\"Three, The (1997)\",Comedy\n"
    "4,Four (1996),(no genres listed)\n5,Five (1995),Comedy\n"
)  # fmt: skip


def ratings() -> str:
    """Twenty people: half like films 1 and 2 alone, half film 3 alone; all like film 5 and one likes film 4."""
    rows = []
    for user in range(20):
        liked = ("1", "2") if user < 10 else ("3",)
        rows += [f"{user},{movie},{4.0 if movie in liked else 2.5},0" for movie in "123"]
        rows += [f"{user},5,5.0,0"]
    return "\n".join([*rows, "0,4,5.0,0"]) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "ml"
    path.mkdir()
    (path / "links.csv").write_text(LINKS)
    (path / "movies.csv").write_text(MOVIES)
    (path / "ratings.csv").write_text(ratings())
    return path


def similar(pairs: MoviePairs) -> set[tuple[str, str]]:
    return set(pairs.similar_names())


def test_co_watch_is_who_likes_both(folder: Path) -> None:
    pairs = read_pairs(folder, "co-watch", NAMES, 0.3)
    assert similar(pairs) == {("tt0000001", "tt0000002")}
    assert len(pairs) == 3
    assert pairs.remarks == (
        "20 ratings of films that are not there were not read",
        "1 of 4 films have no 10 ratings of 4 or higher and are left out: tt0000004",
    )


def test_likes_by_chance_are_not_similar() -> None:
    rng = np.random.default_rng(0)
    rows = [(str(user), name, 5.0) for user in range(2000) for name in "abc" if rng.random() < 0.5]
    rows += [(str(user), "d", 5.0) for user in range(0, 2000, 50)]
    rows += [(str(user), "e", 5.0) for user in range(0, 2000, 50)]  # rare, and of the same people
    likes, unread = co_watch.likes_of(rows, list("abcde"))
    pairs = co_watch.pairs_of(Path("r"), likes, 0.1, ())
    assert unread == 0
    assert similar(pairs) == {("d", "e")}


def test_the_correlation_is_numpys() -> None:
    rng = np.random.default_rng(1)
    table = rng.random((40, 5)) < 0.4
    rows = [(str(u), str(m), 4.5 if table[u, m] else 1.0) for u in range(40) for m in range(5)]
    likes, _ = co_watch.likes_of(rows, list("01234"))
    found = co_watch._correlations(co_watch._together(likes), likes.users)
    np.testing.assert_allclose(found, np.corrcoef(table.T), atol=1e-12)


def test_headers_and_gzip_change_nothing(folder: Path) -> None:
    plain = {kind: read_pairs(folder, kind, NAMES, 0.3) for kind in ("co-watch", "genre")}
    (folder / "links.csv").write_text("movieId,imdbId,tmdbId\n" + LINKS)
    (folder / "movies.csv").write_text("﻿movieId,title,genres\r\n" + MOVIES.replace("\n", "\r\n"))
    (folder / "ratings.csv").unlink()
    with gzip.open(folder / "ratings.csv.gz", "wt") as file:
        file.write("userId,movieId,rating,timestamp\n" + ratings())
    for kind, expected in plain.items():
        found = read_pairs(folder, kind, NAMES, 0.3)
        np.testing.assert_array_equal(found.pairs, expected.pairs)
        np.testing.assert_array_equal(found.similar, expected.similar)


def test_genres_are_alike_by_what_is_rare(folder: Path) -> None:
    pairs = read_pairs(folder, "genre", NAMES, 0.3)
    assert similar(pairs) == {("tt0000001", "tt0000002")}
    assert "1 of 4 films have no genres and are left out: tt0000004" in pairs.remarks


def test_films_are_found_by_title_too(folder: Path) -> None:
    pairs = read_pairs(folder, "genre", ["one (1999)", "Two (1998)", "The Three (1997)"], 0.3)
    assert similar(pairs) == {("one (1999)", "Two (1998)")}
    assert len(pairs.names) == 3


def test_tables_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("a,b,similar\nx,y,1\nz,x,no\n")
    for kind in ("co-watch", "genre", "synopsis"):
        pairs = read_pairs(path, kind, ["x", "y", "z"])
        assert similar(pairs) == {("x", "y")}
        assert len(pairs) == 2
    path.write_text("name,genres\nx,War|Drama\ny,war | drama\nz,Comedy\nother,War\n")
    assert similar(read_pairs(path, "genre", ["x", "y", "z"], 0.3)) == {("x", "y")}
    rows = [f"{u},{m},{5 if (m == 'z') == (u > 10) else 1}" for u in range(22) for m in "xyz"]
    path.write_text("user,name,rating\n" + "\n".join(rows))
    assert similar(read_pairs(path, "co-watch", ["x", "y", "z"], 0.3)) == {("x", "y")}


def test_synopses_are_vectors_or_texts(tmp_path: Path) -> None:
    vectors = {"x": np.array([1.0, 0.1]), "y": np.array([1.0, 0.0]), "z": np.array([-1.0, 1.0]), "w": np.ones(2)}
    np.savez(tmp_path / "v.npz", **vectors)
    pairs = read_pairs(tmp_path / "v.npz", "synopsis", ["x", "y", "z"], 0.3)
    assert similar(pairs) == {("x", "y")}
    assert pairs.remarks == ("1 synopses of films that are not there were not read",)
    path = tmp_path / "s.csv"
    path.write_text('name,synopsis\nx,"A war. A train."\ny,"A train."\nz,"A wedding."\n')
    words = ["war", "train", "wedding"]

    def encode(texts: object) -> np.ndarray:
        assert isinstance(texts, list)
        return np.array([[word in text for word in words] for text in texts], np.float32)

    assert similar(synopsis.read(path, ["x", "y", "z"], 0.3, encode)) == {("x", "y")}


def test_the_share_is_met_as_nearly_as_ties_allow() -> None:
    scores = np.zeros((5, 5))
    first, second = np.triu_indices(5, 1)
    scores[first, second] = [0.9, 0.8, 0.8, 0.8, 0.1, 0.1, 0.1, 0.0, -0.5, np.nan]
    for share, count in ((0.1, 1), (0.25, 1), (0.3, 4), (0.5, 4), (0.7, 7), (0.99, 7)):
        assert MoviePairs.of_scores("abcde", scores, share).similar.sum() == count, share
    assert len(MoviePairs.of_scores("abcde", scores, 0.1)) == 9


def test_pairs_between_two_groups_of_movies() -> None:
    pairs = MoviePairs.of_rows([("b", "a", True), ("a", "c", False), ("c", "d", True), ("b", "c", False)])
    assert pairs.names == ("a", "b", "c", "d")
    assert pairs.between("ab", "ab").similar_names() == [("a", "b")]
    assert [tuple(pair) for pair in pairs.between("ab", "cd").pairs.tolist()] == [(0, 2), (1, 2)]
    assert len(pairs.between("a", "d")) == 0


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("a,b,similar\nx,q,1\nx,y,0\n", "genre", "expected pairs of films that are there, got 1 films that are not: q"),
        ("a,b,similar\nx,x,1\n", "genre", "expected two movies, got 'x' with itself"),
        ("a,b,similar\nx,y,1\ny,x,0\n", "genre", "x and y: expected similar or not, got both"),
        ("a,b,similar\nx,y,perhaps\n", "genre", "line 2: expected similar to be 1 or 0, got 'perhaps'"),
        ("a,b,similar\nx,y\n", "genre", r"line 2: expected 3 cells \(a,b,similar\), got 2"),
        ("a,b,similar\n", "genre", "expected at least one pair of movies, got none"),
        ("", "genre", "expected a CSV table, got an empty file"),
        ("name,genre\nx,War\n", "genre", "expected the header a,b,similar or name,genres for kind genre"),
        ("name,genres\nx,War\nx,War\n", "genre", "line 3: expected each film once, got 'x' again"),
        ("name,genres\nq,War\n", "genre", "expected genres of at least 2 of the 3 films, got 0"),
        ("name,genres\nx,War\ny,Comedy\nz,Drama\n", "genre", "expected some pairs that are similar"),
        ("user,name,rating\n1,x,good\n", "co-watch", "line 2: expected a rating, got 'good'"),
        ("user,name,rating\n1,x,5\n", "co-watch", "expected 10 ratings of 4 or higher of at least 2 of the 3 films"),
        ("x\0y", "genre", "m.csv: expected"),
        ('a,b,similar\n"x,y,1\n', "genre", "m.csv: expected a CSV table in UTF-8"),
    ],
)
def test_bad_tables_are_named(tmp_path: Path, text: str, kind: str, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_text(text)
    with pytest.raises(FeatureError, match=message) as error:
        read_pairs(path, kind, ["x", "y", "z"])
    assert str(path) in str(error.value) or "metadata:" in str(error.value)


def test_other_bad_metadata_is_named(folder: Path, tmp_path: Path) -> None:
    for given, kind, names, message in [
        (
            folder,
            "genre",
            ["x", "y"],
            "expected a title or an IMDb id in MovieLens of at least 2 of",
        ),
        (folder, "genre", NAMES[:1], "films: expected at least 2, got only tt0000001"),
        (folder, "synopsis", NAMES, "expected a file of vectors or texts"),
        (folder, "plot", NAMES, "kind: expected one of co-watch, genre, synopsis"),
        (tmp_path / "gone.csv", "genre", NAMES, "gone.csv: expected a CSV table"),
    ]:
        with pytest.raises(FeatureError, match=message):
            read_pairs(given, kind, names)
    (folder / "links.csv").unlink()
    with pytest.raises(FeatureError, match=r"expected links.csv or links.csv.gz of MovieLens"):
        read_pairs(folder, "genre", NAMES)
    np.savez(tmp_path / "v.npz", x=np.ones(3), y=np.ones(2), z=np.array([np.nan]))
    for names, message in [("xy", "expected vectors of one width"), ("xz", "z: expected a vector of finite numbers")]:
        with pytest.raises(FeatureError, match=message):
            read_pairs(tmp_path / "v.npz", "synopsis", list(names))
    (tmp_path / "v.npz").write_bytes(b"PK\3\4 no archive")
    with pytest.raises(FeatureError, match="expected an .npz of a vector a film"):
        read_pairs(tmp_path / "v.npz", "synopsis", ["x", "y"])


def test_pairs_with_films_that_are_not_there_can_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("a,b,similar\nx,q,1\nx,y,1\nr,q,0\n")
    pairs = read_pairs(path, "genre", ["x", "y"], partial=True)
    assert len(pairs) == 1
    assert pairs.remarks == ("2 pairs with films that are not there were left out: q, r",)


def test_a_share_is_between_0_and_1() -> None:
    for share in (0, 1, -1, float("nan")):
        with pytest.raises(FeatureError, match="share: expected"):
            MoviePairs.of_scores("ab", np.ones((2, 2)), share)
