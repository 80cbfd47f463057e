"""k-means||: its numbers, what it reads, and equality with the oracle; `kmeans_plusplus` as users call it."""

import warnings

import matrix
import numpy as np
import oracle
import pytest

import fastkmeans
from fastkmeans import (
    KMeans,
    brief,
    data,
    exceptions,
    kmeans_plusplus,
    packed,
    plusplus,
    points,
    scalable,
    seeding,
    threads,
)
from fastkmeans.kernels import lloyd, philox, simd
from fastkmeans.points import as_points, as_weights

WIDTH = max(4, simd.native_lanes())


@pytest.fixture(autouse=True, scope="module")
def vector_kernels():
    """Small jobs run plain loops by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PLAIN_WORK", 0.0)
        yield


def parallel_rows(X, k, seed, weights=None, n_threads=1):
    source = data.Data(as_points(X), as_weights(weights, len(X)), n_threads)
    return seeding.parallel_rows(source, k, seeding.stream_of(seed), seed)


# --------------------------------------------------------------------------------------------------------- k-means||
def test_philox_is_philox():
    """The known answers of its authors' test vectors, for the oracle; and the kernel equals the oracle."""
    ones = 2**32 - 1
    assert oracle.philox((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert oracle.philox((ones,) * 4, (ones,) * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    counter, key = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert oracle.philox(counter, key) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    for row, turn, key in ((0, 0, (0, 0)), (2**40 + 7, 3, (1, 2**32 - 1)), (12345, 4, (0xA4093822, 0x299F31D0))):
        high, low, *_ = oracle.philox((row % 2**32, row >> 32, turn, 0), key)
        words = [np.uint64(word) for word in (row, turn, *key)]
        assert int(philox.uniform53(*words)) == (high << 32 | low) >> 11


FOR_PARALLEL = ["blobs", "uniform32", "duplicates", "all equal", "plane lattice", "offset64", "d=65", "1e-310", "k=33"]
FOR_PARALLEL += ["more clusters than points", "one cluster each", "one row", "outlier32"]


@pytest.mark.parametrize("name", FOR_PARALLEL)
def test_parallel_rows_equal_the_oracle(name):
    X, k = matrix.dataset(name)
    for seed in (0, 1):
        sequence = np.random.SeedSequence(seed).spawn(1)[0]
        for weights in (None, matrix.weights(name, "integer with zeros"), matrix.weights(name, "fractional")):
            expected = oracle.kmeans_parallel(X, weights, k, sequence)
            assert parallel_rows(X, k, sequence, weights) == expected
            with simd.force_lanes(1):
                assert parallel_rows(X, k, sequence, weights) == expected


def test_a_fit_from_parallel_rows():
    X, k = matrix.dataset("uniform32")
    expected = oracle.kmeans(X, k, "k-means||", n_init=2, seed=7)
    model = KMeans(k, init="k-means||", n_init=2, random_state=7).fit(X)
    np.testing.assert_array_equal(model.labels_, expected.labels)
    np.testing.assert_array_equal(model.cluster_centers_, expected.centers)
    assert (model.inertia_, model.n_iter_) == (expected.inertia, expected.n_iter)


@pytest.mark.parametrize("rows", [1, 50, 4096])
def test_blocks_and_threads_do_not_matter(rows, monkeypatch):
    X = np.random.default_rng(0).normal(size=(9000, 3)).astype(np.float32)
    seed = np.random.SeedSequence(3)
    expected = parallel_rows(X, 12, seed)
    monkeypatch.setattr(data, "RANGE_ROWS", max(rows, 40))
    monkeypatch.setattr(threads, "SERIAL_WORK", 0)
    assert parallel_rows(X, 12, seed, n_threads=min(2, threads.pool_size())) == expected


class Counted(points.Points):
    """Points that count the rows they hand out."""

    __slots__ = ("in_ranges", "taken")

    def ranges(self, max_rows=None):
        for lo, hi, rows in super().ranges(max_rows):
            self.in_ranges += hi - lo
            yield lo, hi, rows

    def take(self, indices):
        self.taken += np.size(indices)
        return super().take(indices)


def counted(X):
    source = as_points(X)
    result = Counted(
        X.shape, X.dtype, name="X", nbytes=X.nbytes, feature_names=None, direct=source.direct, read=source._read
    )
    result.in_ranges = result.taken = 0
    return result


@pytest.mark.parametrize("width", [1, WIDTH])
@pytest.mark.parametrize("weighted", [False, True])
def test_parallel_reads_few_times(weighted, width):
    """Rounds + 2 times, validation included; single rows are taken for the candidates alone."""
    X = np.random.default_rng(1).normal(size=(4000, 5)).astype(np.float32)
    weights = as_weights(np.arange(4000) % 3, 4000) if weighted else None
    source, k = counted(X), 10
    with simd.force_lanes(width):
        prepared = data.Data(source, weights, 1)
        seed = np.random.SeedSequence(0)
        seeding.parallel_rows(prepared, k, seeding.stream_of(seed), seed)
    assert source.in_ranges == (scalable.ROUNDS + 2) * 4000
    assert source.taken < 64 + 4 * scalable.OVERSAMPLING * scalable.ROUNDS * k


# -------------------------------------------------------------------------------------------------- kmeans_plusplus
def test_kmeans_plusplus_is_where_a_fit_starts():
    X, k = matrix.dataset("uniform32")
    weights = np.arange(len(X)) % 4
    for w in (None, weights):
        centers, indices = kmeans_plusplus(X, k, sample_weight=w, random_state=5)
        assert centers.dtype == np.float32 and centers.flags.c_contiguous
        assert indices.dtype == np.int64 and indices.shape == (k,)
        np.testing.assert_array_equal(centers, X[indices])
        assert indices.tolist() == oracle.kmeans_plusplus(X, w, k, np.random.SeedSequence(5).spawn(1)[0])
        from_rows = KMeans(k, init=centers).fit(X, sample_weight=w)
        seeded = KMeans(k, random_state=5).fit(X, sample_weight=w)
        assert from_rows.inertia_ == seeded.inertia_


def test_arguments():
    X = np.random.default_rng(0).integers(0, 50, (40, 3)).astype(np.uint8)
    expected = kmeans_plusplus(X, 6, random_state=1)[1]
    for other in (X.astype(float), np.asfortranarray(X), X.tolist(), X.astype(object)):
        assert (kmeans_plusplus(other, 6, random_state=1)[1] == expected).all()
    assert (kmeans_plusplus(X, 6, random_state=1, n_threads=1, x_squared_norms=np.ones(40))[1] == expected).all()
    for trials in (1, 2, 30):
        rows = kmeans_plusplus(X, 6, random_state=1, n_local_trials=trials)[1]
        assert rows.tolist() == oracle.kmeans_plusplus(X, None, 6, np.random.SeedSequence(1).spawn(1)[0], trials)
    assert sorted(kmeans_plusplus(np.arange(9.0)[:, None], 9, random_state=0)[1]) == list(range(9))
    generator = np.random.default_rng(2)
    assert (kmeans_plusplus(X, 6, random_state=generator)[1] != kmeans_plusplus(X, 6, random_state=generator)[1]).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_clusters": 0}, "'n_clusters' parameter of kmeans_plusplus must be an int in the range"),
        ({"n_clusters": 2.0}, "'n_clusters' parameter"),
        ({"n_clusters": 41}, "n_samples=40 should be >= n_clusters=41"),
        ({"n_local_trials": 0}, "'n_local_trials' parameter"),
        ({"random_state": "x"}, "'random_state' parameter"),
        ({"random_state": -1}, "'random_state' parameter"),
        ({"x_squared_norms": np.ones(39)}, "length of x_squared_norms"),
        ({"sample_weight": -np.ones(40)}, "Negative values"),
        ({"n_threads": 0}, "n_threads must be a positive integer"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kmeans_plusplus(np.random.default_rng(0).normal(size=(40, 3)), **{"n_clusters": 3, **arguments})


def test_not_finite():
    with pytest.raises(ValueError, match="Input X contains NaN"):
        kmeans_plusplus([[1.0], [np.nan]], 1)


def test_too_few_distinct_rows():
    """No hang, no row of weight zero, and a warning as that of a fit."""
    X = np.repeat([[0.0, 1.0], [2.0, 3.0]], 5, axis=0)
    with pytest.warns(exceptions.convergence_warning(), match=r"Number of distinct rows \(2\)"):
        centers, _ = kmeans_plusplus(X, 5, random_state=0)
    assert len({tuple(row) for row in centers}) == 2
    weights = np.array([1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    with pytest.warns(exceptions.convergence_warning(), match=r"\(1\)"):
        assert kmeans_plusplus(X, 3, sample_weight=weights, random_state=0)[1].tolist() == [0, 0, 0]


def test_as_scikit_learn():
    """The same kind of answer from the same call."""
    cluster = pytest.importorskip("sklearn.cluster")
    X = np.random.default_rng(0).normal(size=(300, 4))
    ours, theirs = kmeans_plusplus(X, 7, random_state=0), cluster.kmeans_plusplus(X, 7, random_state=0)
    assert [a.shape for a in ours] == [a.shape for a in theirs] and ours[0].dtype == theirs[0].dtype
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastkmeans.kmeans_plusplus(X, 7, random_state=0, x_squared_norms=(X**2).sum(axis=1), n_local_trials=3)


# ----------------------------------------------------------------------------------------------- what a fit is handed
HANDED = ["blobs", "uniform32", "plane lattice", "duplicates", "all equal", "one cluster each", "1e-310", "offset64"]
HANDED += ["more clusters than points", "d=65", "integers"]


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@pytest.mark.parametrize("name", HANDED)
def test_the_first_pass_takes_no_distances(name):
    """Labels of seeding stand for those of a pass: all else is as if the same centers were given as an array."""
    X, k = matrix.dataset(name)
    for weighting in ("none", "integer with zeros"):
        weights = matrix.weights(name, weighting)
        for n_iter in (1, 20):
            fits = []
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                centers, _ = kmeans_plusplus(X, k, sample_weight=weights, random_state=3)
            for init in ("k-means++", centers):
                model = KMeans(k, init=init, random_state=3, max_iter=n_iter, algorithm="lloyd")
                fits.append(model.fit(X, sample_weight=weights))
            seeded, given = fits
            assert seeded.history_[0].algorithm == "seeding" and seeded.history_[0].evaluated == 0.0
            assert given.history_[0].algorithm == "lloyd"
            assert [h[:4] for h in seeded.history_] == [h[:4] for h in given.history_]
            np.testing.assert_array_equal(seeded.labels_, given.labels_)
            np.testing.assert_array_equal(seeded.cluster_centers_, given.cluster_centers_)
            assert (seeded.inertia_, seeded.n_iter_) == (given.inertia_, given.n_iter_)


def test_bounded_passes_after_seeding():
    """Bounds begin from labels that no pass has taken."""
    X, k = matrix.dataset("d=65")
    weights = matrix.weights("d=65", "integer with zeros")
    dense = KMeans(k, random_state=1, algorithm="lloyd").fit(X, sample_weight=weights)
    for algorithm in ("elkan", "auto"):
        model = KMeans(k, random_state=1, algorithm=algorithm).fit(X, sample_weight=weights)
        assert model.history_[0].algorithm == "seeding"
        assert [h[:4] for h in model.history_] == [h[:4] for h in dense.history_]
        np.testing.assert_array_equal(model.labels_, dense.labels_)
    for orientation, second in (("centers", "elkan"), ("integers", "lloyd")):  # the latter leaves bounds
        with lloyd.force_orientation(orientation):
            history = KMeans(k, random_state=1, algorithm="elkan", tol=0).fit(X).history_
        assert [h.algorithm for h in history[:3]] == ["seeding", second, "elkan"]


def test_rounded_rows_are_measured_again():
    """Where the center dtype rounds the rows chosen, what seeding knows of the rows is of no use."""
    X = np.random.default_rng(0).normal(size=(60, 2))
    source = data.Data(as_points(X), None, 1)
    source.points.center_dtype = np.dtype(np.float32)
    start = seeding.initial_centers(source, 5, "k-means++", np.random.SeedSequence(0), X)
    assert start.labels is None


def test_restarts_do_not_depend_on_their_number(capsys):
    """Restart r starts from the same rows however many run, and the data is prepared once."""
    X, k = matrix.dataset("uniform32")
    told = []
    for n_init in (2, 4):
        KMeans(k, n_init=n_init, random_state=8, max_iter=1, verbose=1).fit(X)
        lines = capsys.readouterr().out.splitlines()
        told.append([line for line in lines if line.startswith("Iteration 1")])
    assert told[1][:2] == told[0] and len(set(told[1])) == 4


def test_seeding_tells_how_it_gets_on(capsys, monkeypatch):
    X, k = matrix.dataset("uniform32")
    monkeypatch.setattr(plusplus, "TELL_SECONDS", 0.0)
    monkeypatch.setattr(brief, "serves", lambda data, n_clusters: False)  # so little data says nothing
    KMeans(k, random_state=0, max_iter=1, verbose=1).fit(X)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Seeding")]
    chosen = [int(line.split()[1]) for line in lines]
    reads = [float(line.split()[-2]) for line in lines]
    assert chosen == sorted(chosen) and chosen[-1] == k and len(lines) >= 2
    assert reads == sorted(reads) and 1.0 <= reads[-1] <= 2.0 * k
    KMeans(k, init="k-means||", random_state=0, max_iter=1, verbose=1).fit(X)
    lines = [line for line in capsys.readouterr().out.splitlines() if " rounds, " in line]
    assert [line.split()[1] for line in lines] == [str(turn + 1) for turn in range(scalable.ROUNDS)]
    monkeypatch.setattr(plusplus, "TELL_SECONDS", 1000.0)
    KMeans(k, random_state=0, max_iter=1, verbose=1).fit(X)
    assert "Seeding" not in capsys.readouterr().out
