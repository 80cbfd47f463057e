"""Seeding equals the oracle to the index: whatever is evaluated at a time, by which kernel, on how many threads."""

import hypothesis
import matrix
import numpy as np
import oracle
import pytest
from hypothesis import strategies as st

from fastkmeans import KMeans, brief, data, distance_table, packed, plusplus, potentials, seeding, threads, visits
from fastkmeans.draws import Stream
from fastkmeans.kernels import codes, fast_gains, mapped, panel_gains, simd, visit
from fastkmeans.kernels import seeding as draws
from fastkmeans.points import as_points, as_weights

WIDTH = max(4, simd.native_lanes())
PLAIN_WORK = packed.PLAIN_WORK


@pytest.fixture(autouse=True, scope="module")
def vector_kernels():
    """Small jobs run plain loops by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packed, "PLAIN_WORK", 0.0)
        yield


def prepared(X, weights=None, n_threads=1):
    return data.Data(as_points(X), as_weights(weights, len(X)), n_threads)


def stream(seed):
    return Stream(np.random.Generator(np.random.PCG64(seed)))


def rows_of(X, k, seed, weights=None, n_candidates=None, n_threads=1):
    return seeding.plusplus_rows(prepared(X, weights, n_threads), k, stream(seed), n_candidates)


def check(X, k, seeds=(0, 1), weights=None, n_candidates=None):
    for seed in seeds:
        expected = oracle.kmeans_plusplus(X, weights, k, seed, n_candidates)
        for direct, tables, helped, coded in (
            (True, False, None, None), (True, True, None, None), (False, None, True, False),
            (False, None, False, False), (False, None, True, True), (False, None, False, True),
            (None, None, None, None),
        ):  # fmt: skip
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(plusplus, "DIRECT", direct)
                patch.setattr(plusplus, "TABLES", tables)
                patch.setattr(visits, "MAP", helped)
                patch.setattr(visits, "CODES", coded)
                assert rows_of(X, k, seed, weights, n_candidates) == expected, (seed, direct, tables, helped, coded)


@pytest.mark.parametrize("name", matrix.DATA)
def test_rows_equal_the_oracle(name):
    X, k = matrix.dataset(name)
    check(X, k)


@pytest.mark.parametrize("weighting", [w for w in matrix.WEIGHTS if w != "none"])
@pytest.mark.parametrize("name", ["blobs", "duplicates", "plane lattice", "1e-310", "d=33", "one cluster each"])
def test_weighted_rows_equal_the_oracle(name, weighting):
    X, k = matrix.dataset(name)
    check(X, k, weights=matrix.weights(name, weighting))


@pytest.mark.parametrize("width", [1, 4, 8, 16])
@pytest.mark.parametrize("name", ["blobs32", "uniform32", "offset32 wide", "d=65"])
def test_lane_widths(name, width):
    X, k = matrix.dataset(name)
    with simd.force_lanes(width):
        check(X, k, seeds=(2,))


@pytest.mark.parametrize("n_candidates", [1, 2, 9, 60])
def test_numbers_of_candidates(n_candidates):
    X, _ = matrix.dataset("d=17")
    check(X, 23, n_candidates=n_candidates)


@pytest.mark.parametrize("name", ["d=16", "uniform", "d=65"])
def test_what_is_evaluated_together_does_not_matter(name, monkeypatch):
    X, _ = matrix.dataset(name)
    k = 60
    expected = oracle.kmeans_plusplus(X, None, k, 5)
    monkeypatch.setattr(plusplus, "DIRECT", False)
    for many in (6, 7, 16, 50, 96):
        monkeypatch.setattr(visit, "MANY", many)
        assert rows_of(X, k, 5) == expected
    monkeypatch.setattr(plusplus, "STALE", 1)
    monkeypatch.setattr(visits, "MAP", True)
    for coded in (False, True):
        monkeypatch.setattr(visits, "CODES", coded)
        assert rows_of(X, k, 5) == expected
    with monkeypatch.context() as patch:
        patch.setattr(data, "RANGE_ROWS", 50)
        for coded in (False, True):
            patch.setattr(visits, "CODES", coded)
            assert rows_of(X, k, 5) == expected
    # lists too small for anything, or for some steps
    for room in (1, 40, 200):
        monkeypatch.setattr(plusplus, "LIST_ROOM", room)
        monkeypatch.setattr(plusplus, "LIST_SHARE", 10**9)
        monkeypatch.setattr(plusplus, "LIST_BYTES", 10**9)
        assert rows_of(X, k, 5) == expected
        with monkeypatch.context() as patch:  # and longer ones than the last visit let expect
            patch.setattr(plusplus, "GROWTH_SEEN", 0.0)
            assert rows_of(X, k, 5) == expected


@pytest.mark.skipif(threads.pool_size() < 2, reason="one thread in the pool")
@pytest.mark.parametrize("direct, tables", [(True, False), (True, True), (False, None), (None, None)])
def test_threads(direct, tables, monkeypatch):
    monkeypatch.setattr(threads, "SERIAL_WORK", 0)
    monkeypatch.setattr(plusplus, "DIRECT", direct)
    monkeypatch.setattr(plusplus, "TABLES", tables)
    monkeypatch.setattr(visits, "MAP", True)
    for name in ("uniform32", "d=65"):
        X, _ = matrix.dataset(name)
        expected = oracle.kmeans_plusplus(X, None, 30, 3)
        for n_threads in range(1, min(4, threads.pool_size()) + 1):
            assert rows_of(X, 30, 3, n_threads=n_threads) == expected


@pytest.mark.parametrize("storage", ["F", "byte-swapped", "list", "memmap"])
def test_storages(storage, tmp_path):
    X, k = matrix.dataset("d=17")
    expected = oracle.kmeans_plusplus(X, None, k, 0)
    assert rows_of(matrix.stored(X, storage, tmp_path), k, 0) == expected


@pytest.mark.parametrize("dtype", ["u1", "i8"])
def test_dtypes(dtype):
    X = np.random.default_rng(1).integers(0, 100, (200, 5)).astype(dtype)
    check(X, 20, seeds=(0,))


def test_weights_equal_repetition():
    rng = np.random.default_rng(4)
    for n, d in ((300, 3), (120, 40)):
        X = rng.normal(size=(n, d)).astype(np.float32)
        weights = rng.integers(0, 4, n)
        origin = np.repeat(np.arange(n), weights)
        for seed in range(3):
            once = rows_of(X, 40, seed, weights)
            assert once == [int(origin[row]) for row in rows_of(X[origin], 40, seed)]


@pytest.mark.parametrize(
    "name", ["uniform32", "plane lattice", "cube lattice", "duplicates", "d=65", "one cluster each", "offset64"]
)
@pytest.mark.parametrize("direct, tables", [(True, False), (True, True), (False, None)])
def test_labels_and_distances_of_the_seeds(name, direct, tables, monkeypatch):
    """What the first pass of a fit would find: the nearest seed, the first on a tie."""
    monkeypatch.setattr(plusplus, "DIRECT", direct)
    monkeypatch.setattr(plusplus, "TABLES", tables)
    X, k = matrix.dataset(name)
    weights = np.arange(len(X)) % 3
    for w in (None, weights):
        source = prepared(X, w)
        words = stream(1)
        found = plusplus.greedy(source, k, None, words, seeding.WeightDraws(source, words).draw())
        found.settle()
        to_all = oracle.canonical(X, X[found.rows_chosen()])
        counts = slice(None) if w is None else w > 0
        np.testing.assert_array_equal(found.nearest_sq[counts], to_all.min(axis=1)[counts])
        np.testing.assert_array_equal(found.labels[counts], to_all.argmin(axis=1)[counts])


@pytest.mark.parametrize("name", ["uniform32", "plane lattice", "duplicates", "one cluster each", "1e-310", "1e150"])
def test_little_data_is_seeded_in_numpy_all_the_same(name, monkeypatch):
    X, k = matrix.dataset(name)
    source = prepared(X, None)
    assert not brief.serves(source, k)  # kernels do, as everywhere in this file
    monkeypatch.setattr(packed, "PLAIN_WORK", PLAIN_WORK)
    assert brief.serves(source, k) and not brief.serves(prepared(X, np.arange(len(X))), k)
    for seed in range(4):
        results = []
        for kind in (plusplus.greedy, brief.BriefSeeding):
            words = stream(seed)
            found = kind(source, k, 4, words, seed)
            found.settle()
            results.append((found.rows_chosen(), *found.nearest_sq, *found.labels, words.uniform(1 << 40)))
        assert results[0] == results[1]


# -------------------------------------------------------------------------------------------------- distribution
def exact_chances(X, W, k, n_trials):
    """The chance of every ordered choice of k rows, by the plain definition."""
    n = len(X)
    to = oracle.canonical(X, X)
    chances = {(i,): W[i] / sum(W) for i in range(n)}
    for _ in range(k - 1):
        longer = {}
        for chosen, p in chances.items():
            D = to[:, list(chosen)].min(axis=1)
            mass = W * D / (W * D).sum()
            for trial in np.ndindex(*(n,) * n_trials):
                q = p * np.prod(mass[list(trial)])
                if q > 0:
                    left = [(W * np.minimum(D, to[:, i])).sum() for i in trial]
                    best = trial[int(np.argmin(left))]
                    longer[(*chosen, best)] = longer.get((*chosen, best), 0.0) + q
        chances = longer
    return chances


@pytest.mark.parametrize("n_trials", [1, 2])
def test_distribution(n_trials, monkeypatch):
    """Frequencies of whole choices against exact chances; proposals are refused often enough to matter."""
    monkeypatch.setattr(packed, "PLAIN_WORK", np.inf)
    X = np.array([[0.0, 0.0], [1.0, 0.5], [4.0, 0.0], [4.0, 3.5], [0.0, 7.0]])
    W = np.array([1, 2, 1, 0, 3])
    chances = exact_chances(X, W, 3, n_trials)
    assert abs(sum(chances.values()) - 1) < 1e-12
    source, draws_made = prepared(X, W), 3000
    counts = dict.fromkeys(chances, 0)
    for seed in range(draws_made):
        counts[tuple(seeding.plusplus_rows(source, 3, stream(seed), n_trials))] += 1
    for chosen, p in chances.items():
        assert abs(counts[chosen] - draws_made * p) <= 4.5 * np.sqrt(draws_made * p * (1 - p)) + 1e-9, chosen


# ------------------------------------------------------------------------------------------------------- kernels
@hypothesis.settings(max_examples=60)
@hypothesis.given(st.integers(0, 2**48 - 1), st.integers(0, 2**64 - 1), st.integers(1, 2**50))
def test_remainder(high, low, divisor):
    assert draws.remainder(np.uint64(high), np.uint64(low), divisor) == ((high << 64) + low) % divisor


@st.composite
def clouds(draw):
    """Rows at all magnitudes, near and far from the origin, some of them equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(30, 90)), draw(st.sampled_from([1, 2, 5, 11, 12, 13, 40, 65, 130]))
    X = rng.normal(size=(n, d)) + draw(st.sampled_from([0.0, 0.0, 10.0, 1e4]))
    X[rng.integers(n, size=n // 4)] = X[rng.integers(n, size=n // 4)]
    if draw(st.booleans()):
        X = np.rint(X)
    X = np.ldexp(X, draw(st.sampled_from([0, 0, 60, -60, -120])))
    weights = rng.integers(0, 4, n) / 2.0 if draw(st.booleans()) else None
    if weights is not None:
        weights[0] = 1.5
    return X.astype(draw(st.sampled_from(["f4", "f8"]))), weights, rng


def seeded(X, weights, seeds, width):
    """A Seeding that has chosen these rows, its potentials frozen; None where nothing is left of them."""
    with simd.force_lanes(width):
        found = plusplus.Seeding(prepared(X, weights), 40, 4, stream(0), seeds[0])
    for row in seeds[1:]:
        found._choose(row)
        found.settle()
    if not found.frozen.freeze(found.nearest_sq):
        return None
    if found.panels is not None:
        scale, W = found.panels.packing.frame.scale, oracle.weight_grid(weights, len(X)).values
        away = oracle.canonical(X, X[seeds[:1]])[:, 0] * scale * scale
        found.panels.spread = 1.01 * float((W.astype(float) * away).sum()) * found.weight_unit
    return found


def listed(found, chosen):
    """(row, candidate, distance), sorted, as the next visit lists them for these candidates."""
    found.rows, found.inside = np.asarray(chosen, np.int64), np.zeros(len(chosen), np.int64)
    found.slots = np.full(len(chosen), -1, np.int32)
    found._flags = lambda: np.ones(len(chosen), np.uint8)
    assert found._evaluate()
    spans = [slice(*found.lists.starts[slot : slot + 2]) for slot in found.slots]
    rows = [zip(found.lists.rows[span].tolist(), found.lists.values[span].tolist(), strict=True) for span in spans]
    return sorted((i, c, value) for c, part in enumerate(rows) for i, value in part)


@hypothesis.settings(max_examples=200)
@hypothesis.given(clouds(), st.integers(1, 96), st.booleans(), st.booleans())
def test_rows_that_come_nearer_are_never_missed(cloud, count, helped, coded):
    """The filters leave exactly what plain loops find, with an order and a map, by codes, and without."""
    X, weights, rng = cloud
    present = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    seeds, chosen = rng.choice(present, 3), rng.choice(present, count)
    to = oracle.canonical(X, X[chosen])
    nearest = oracle.canonical(X, X[seeds]).min(axis=1)
    expected = sorted((int(i), c, float(to[i, c])) for i in present for c in range(count) if to[i, c] < nearest[i])
    for width in (WIDTH, 1):
        found = seeded(X, weights, seeds, width)
        if found is None:
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(visits, "MAP", helped)
            patch.setattr(visits, "CODES", coded)
            assert listed(found, chosen) == expected
            assert (found.visits.codes is not None) == (coded and width >= 8)


@pytest.mark.parametrize(("apart", "by_products"), [(60.0, True), (1e4, False)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_products_leave_no_row_out(dtype, apart, by_products):
    """Clusters so far apart that rounded products tell a little wrong how near a candidate is, or too much."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(200_000, 3))
    X[::2, 0] += apart
    X = X.astype(dtype)
    seeds, chosen = rng.choice(len(X), 40, replace=False), rng.choice(len(X), 6)
    found = seeded(X, None, seeds, WIDTH)
    assert found.visits._products_serve(2.0 * apart**2 * found.visits.packing.frame.scale**2) == by_products
    to = oracle.canonical(X, X[chosen])
    nearest = oracle.canonical(X, X[seeds]).min(axis=1)
    expected = [(int(i), int(c), float(to[i, c])) for i, c in np.argwhere(to < nearest[:, None])]
    assert listed(found, chosen) == expected


@pytest.mark.parametrize("d", [16, 61, 384])
def test_codes_of_extremes(d, monkeypatch):
    """All features as large as they come: no sum of products leaves the bits it has."""
    rng = np.random.default_rng(d)
    corners = rng.choice([-1.0, 1.0], (9, d))
    X = (corners[rng.integers(0, 9, 400)] * (1.0 + 1e-3 * rng.random((400, d)))).astype(np.float32)
    monkeypatch.setattr(visits, "MAP", False)
    monkeypatch.setattr(visits, "CODES", True)
    monkeypatch.setattr(plusplus, "DIRECT", False)
    check(X, 60)


@pytest.mark.parametrize("helped", [False, True])
def test_codes_of_rows_of_all_sizes(helped, monkeypatch):
    """Rows share a step with others that are much larger, and what a product must reach may be beyond an integer."""
    rng = np.random.default_rng(3)
    sizes = 10.0 ** np.concatenate([rng.uniform(-9.0, 3.0, 300), np.repeat([-12.0, -5.0, 0.0, 3.0], 40)])
    X = (rng.normal(size=(460, 20)) * sizes[:, None])[rng.permutation(460)]
    specks = np.concatenate([np.full((1, 20), side) for side in (-1.0, 1.0)] + [1e-36 * rng.normal(size=(300, 20))])
    monkeypatch.setattr(visits, "MAP", helped)
    monkeypatch.setattr(visits, "CODES", True)
    monkeypatch.setattr(plusplus, "DIRECT", False)
    for values in (X, X.astype(np.float32), specks):
        for seed in range(4):
            assert rows_of(values, 200, seed) == oracle.kmeans_plusplus(values, None, 200, seed, None)


@hypothesis.settings(max_examples=40)
@hypothesis.given(clouds())
def test_the_map_brings_no_two_rows_farther_apart(cloud):
    """Up to the error it states; and with no more features than directions, no two nearer than that either."""
    X = cloud[0]
    source = prepared(X)
    found = visits.Map(source, source.points.take(np.arange(0, len(X), 2)))
    coordinates = found.of(X, np.empty((len(X), mapped.DIMENSIONS), np.float32)).astype(np.float64)
    apart = np.sqrt(oracle.canonical(X, X)) * found.scale
    lengths = np.sqrt((coordinates**2).sum(axis=1))
    allowed = found.error[1] * (lengths[:, None] + lengths) + np.sqrt(found.error[2])
    measured = np.sqrt(((coordinates[:, None] - coordinates) ** 2).sum(axis=2))
    assert (measured <= apart + allowed).all()
    if X.shape[1] < mapped.DIMENSIONS - 1:
        assert (measured[:, :] >= apart * (1.0 - 1e-6) - allowed).all()


def test_rows_in_the_order_of_their_seeds():
    rng = np.random.default_rng(3)
    labels, nearest_sq = rng.integers(0, 9, 500).astype(np.int32), rng.exponential(size=500) ** 4
    labels[labels == 5] = 4  # a seed without rows
    nearest_sq[:40] = 0.0
    order, starts, largest = (
        np.empty(500, np.int32),
        np.empty(9 * mapped.LEVELS + 1, np.int64),
        np.empty(9 * mapped.LEVELS),
    )
    mapped.order_rows(labels, nearest_sq, order, starts, largest)
    assert sorted(order) == list(range(500)) and starts[0] == 0 and starts[-1] == 500
    for s, top in enumerate(largest):
        rows = order[starts[s] : starts[s + 1]]
        assert (labels[rows] == s // mapped.LEVELS).all() and (np.diff(rows) > 0).all()
        assert top == nearest_sq[rows].max(initial=0.0)
        if s % mapped.LEVELS and len(rows):
            earlier = order[starts[s - s % mapped.LEVELS] : starts[s]]
            assert (nearest_sq[earlier] > nearest_sq[rows].max()).all()


def test_rows_out_of_reach_are_passed_over():
    """What order and map are for: of many small blobs, few rows are looked at."""
    rng = np.random.default_rng(0)
    X = (20.0 * rng.normal(size=(60, 40)))[rng.integers(0, 60, 3000)] + 0.1 * rng.normal(size=(3000, 40))
    X = X.astype(np.float32)
    read = {}
    for helped in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(visits, "MAP", helped)
            patch.setattr(plusplus, "DIRECT", False)
            source, words = prepared(X), stream(1)
            found = plusplus.greedy(source, 120, None, words, seeding.WeightDraws(source, words).draw())
        assert found.rows_chosen() == oracle.kmeans_plusplus(X, None, 120, 1)
        read[helped] = found.rows_read
    assert read[True] <= read[False] < 30 * len(X)  # a step at a time would read all of them 120 times


def test_codes_give_way_where_few_rows_are_within_reach(monkeypatch):
    """Of many small blobs: visits begin by codes, and then go by the rows of the seeds that candidates are near to."""
    rng = np.random.default_rng(0)
    X = (20.0 * rng.normal(size=(300, 40)))[rng.integers(0, 300, 6000)] + 0.1 * rng.normal(size=(6000, 40))
    X = X.astype(np.float32)
    monkeypatch.setattr(plusplus, "DIRECT", False)
    monkeypatch.setattr(plusplus, "LIST_ROOM", 10**6)
    monkeypatch.setattr(plusplus, "STALE", 6)  # so that a visit asks when nearly all blobs have a seed, and not later
    source, words, ways = prepared(X), stream(1), []
    for name in ("_visit_codes", "_visit_in_reach"):
        way = getattr(visits.Visits, name)
        monkeypatch.setattr(
            visits.Visits, name, lambda self, c, *a, way=way, name=name: (ways.append((name, len(c))), way(self, c, *a))
        )
    found = plusplus.greedy(source, 600, None, words, seeding.WeightDraws(source, words).draw())
    assert found.rows_chosen() == oracle.kmeans_plusplus(X, None, 600, 1)
    if codes.filters_bytes(WIDTH):
        assert {name for name, _ in ways} == {"_visit_codes", "_visit_in_reach"}
        assert max(count for name, count in ways if name == "_visit_in_reach") <= visit.MANY


def test_several_steps_from_one_table(monkeypatch):
    monkeypatch.setattr(plusplus, "DIRECT", True)
    monkeypatch.setattr(plusplus, "TABLES", True)
    X = np.random.default_rng(0).normal(size=(2000, 70)).astype(np.float32)
    source, words = prepared(X), stream(1)
    found = plusplus.greedy(source, 40, None, words, seeding.WeightDraws(source, words).draw())
    assert found.rows_chosen() == oracle.kmeans_plusplus(X, None, 40, 1)
    assert found.rows_read < 60 * len(X)  # once for every other step, and once to settle these


@pytest.mark.parametrize("d", [33, 768])
@pytest.mark.parametrize("n_rows", [41, 1000])
def test_a_table_settles_more_seeds_than_a_vector_holds(d, n_rows):
    """Whatever number of rows waits at the end; the first of equal seeds keeps a row."""
    X = np.random.default_rng(0).integers(-3, 4, size=(n_rows, d)).astype(np.float32)
    X[n_rows // 2 :] = X[: n_rows - n_rows // 2]
    source, chosen = prepared(X), np.array([0, n_rows // 2, *range(2, 19)])
    seeds = X[chosen].astype(np.float64)
    single = packed.Frame(source, seeds[:1], True, plain=True)
    apart = oracle.canonical(X, X[chosen])
    nearest, labels = apart[:, 0].copy(), np.zeros(n_rows, np.int32)
    table = distance_table.DistanceTable(
        source, distance_table.Packing.of(source, single), WIDTH, 1, seeds[1:], nearest
    )  # fmt: skip
    for column in range(len(chosen) - 1):
        table.choose(column)
    table.settle(seeds, nearest, labels)
    np.testing.assert_array_equal(nearest, apart.min(axis=1))
    np.testing.assert_array_equal(labels, apart.argmin(axis=1))


def test_two_steps_in_one_visit():
    X = np.random.default_rng(0).normal(size=(2000, 6)).astype(np.float32)
    source, words = prepared(X), stream(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plusplus, "DIRECT", True)
        found = plusplus.greedy(source, 40, None, words, seeding.WeightDraws(source, words).draw())
    assert found.rows_chosen() == oracle.kmeans_plusplus(X, None, 40, 1)
    assert found.rows_read < 34 * len(X)  # one at a time they are read 40 times, and once to settle the first


@hypothesis.settings(max_examples=100)
@hypothesis.given(clouds(), st.integers(1, 20))
def test_fast_gains_are_within_their_bounds(cloud, count):
    """Exact sums are what Python integers say, and fast ones are as near as they claim."""
    X, weights, rng = cloud
    present = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    seeds, chosen = rng.choice(present, 3), rng.choice(present, count)
    found = seeded(X, weights, seeds, WIDTH)
    if found is None:
        return
    W = oracle.weight_grid(weights, len(X)).values
    nearest = oracle.canonical(X, X[seeds]).min(axis=1)
    nearest[W == 0] = 0.0
    g = found.frozen.exponent
    assert g == max(int(oracle.exponent(nearest.max())) - 50, -1074)
    before = oracle.on_grid(nearest, g)
    exact = []
    for c in chosen:
        after = oracle.on_grid(np.minimum(nearest, oracle.canonical(X, X[c : c + 1])[:, 0]), g)
        exact.append(int(sum(W * (before - after))))
    rows = X[chosen].astype(np.float64)
    assert found._exact_gains(rows) == exact
    gains, errors = found._estimate(rows)
    halvings = 0 if weights is None else int(max(W)).bit_length()
    unit = float(np.ldexp(1.0, g - halvings)) * found.visits.frame(X.dtype == np.float32).scale ** 2
    assert (np.abs(gains - np.array(exact, float) * unit) <= errors).all()
    packing, weight_unit = found.visits.packing, found.weight_unit
    table = distance_table.DistanceTable(found.data, packing, WIDTH, 1, rows, found.nearest_sq)
    gains = table.gains(weight_unit)[:count]
    table_errors = found._gain_errors(packing, gains, weight_unit, distance_table.kernels.GAINS)
    assert (np.abs(gains - np.array(exact, float) * unit) <= table_errors).all()
    if count > 1 and X.shape[1] < fast_gains.FEW:
        found.unsettled = 2  # seeds that are settled already: nothing changes
        n_second = count // 2
        first = chosen[: count - n_second]
        pairs, pair_errors = found._estimate(rows, n_second)
        exact = exact[: len(first)]
        for c in first:
            between = np.minimum(nearest, oracle.canonical(X, X[c : c + 1])[:, 0])
            for b in chosen[len(first) :]:
                after = oracle.on_grid(np.minimum(between, oracle.canonical(X, X[b : b + 1])[:, 0]), g)
                exact.append(int(sum(W * (oracle.on_grid(between, g) - after))))
        assert (np.abs(pairs - np.array(exact, float) * unit) <= pair_errors).all()
    if count > 1 and X.dtype == np.float32:
        assert errors.max() <= 1e-3 * max(
            float(sum(W * before)) * unit, 1e-30
        )  # a bound that says nothing would do too


@hypothesis.settings(max_examples=100)
@hypothesis.given(clouds(), st.lists(st.integers(1, 2), min_size=1, max_size=8))
def test_panels_know_the_nearest_unsettled_seed_or_that_they_do_not(cloud, steps):
    """A fast distance is within its bound, what it decides is right, and what it does not is decided in the end."""
    X, weights, rng = cloud
    X = np.ascontiguousarray(X[:, : fast_gains.FEW - 1])
    source = prepared(X, weights)
    counted = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
    chosen = rng.choice(counted, 1 + sum(steps))
    with simd.force_lanes(WIDTH):
        found = plusplus.Seeding(source, 40, 4, stream(0), chosen[0])
    found.settle()
    panels, t, unit = found.panels, 1, found.weight_unit
    for step in steps:
        if t < len(chosen):
            fresh = chosen[t : t + step]
            found.seeds[t : t + len(fresh)] = X[fresh]
            t += len(fresh)
        panels.sums(found.seeds[:t], 1, X[:3].astype(np.float64), 1, unit, False)
    to_all = oracle.canonical(X, X[chosen[:t]])[counted]
    nearest, true = panels.nearest[counted].astype(int), to_all.min(axis=1) * panels.packing.frame.scale**2
    relative, root, floor = panels.packing.bounds
    error = 2.1 * relative * true + 2.1 * root * np.sqrt(true) + 1.1 * root**2 + floor + 2.0**-126
    assert (np.abs(panels.near[counted] - true) <= error).all()
    told = nearest != panel_gains.DOUBT
    np.testing.assert_array_equal(nearest[told], to_all.argmin(axis=1)[told])
    panels.sums(found.seeds[:t], 1, X[:0].astype(np.float64), 0, unit, True)
    np.testing.assert_array_equal(found.nearest_sq[counted], to_all.min(axis=1))
    np.testing.assert_array_equal(found.labels[counted], to_all.argmin(axis=1))
    assert (panels.nearest == panel_gains.KNOWN).all()


@pytest.mark.parametrize("weighted", [False, True])
def test_frozen_potentials_need_no_copy(weighted):
    """What is proposed is the same, whether the distances are copied at once, when they change, or not at all."""
    rng = np.random.default_rng(5)
    X, weights = rng.normal(size=(3000, 4)), rng.integers(0, 4, 3000) if weighted else None
    source = prepared(X, weights)
    frozen = [potentials.Frozen(source) for _ in range(3)]
    distances = [(X**2).sum(axis=1) for _ in frozen]
    pending = rng.choice(3000, 5)
    for kept, now in zip(frozen, distances, strict=True):
        assert kept.freeze(now, copied=kept is frozen[0], proposed=pending)
        now[pending] *= 0.5
    for turn in range(3):
        words = rng.integers(0, 2**64, (40, 2), dtype=np.uint64)
        found = [kept.propose(words) for kept in frozen]
        for rows, inside in found[1:]:
            np.testing.assert_array_equal(rows, found[0][0])
            np.testing.assert_array_equal(inside, found[0][1])
        for now in distances:
            now[found[0][0][::2]] *= 0.25
        np.testing.assert_array_equal(distances[2], distances[0])
        if turn == 1:
            frozen[1].keep()
            distances[1][:] = 0.0
    assert (frozen[0].nearest_sq[pending] == (X[pending] ** 2).sum(axis=1)).all()


def test_more_seeds_stay_unsettled_than_panels_know_apart(monkeypatch):
    """Where clusters lie far apart hardly a proposal is refused, and nothing is frozen anew for long."""
    monkeypatch.setattr(plusplus, "DIRECT", True)
    rng = np.random.default_rng(8)
    X = np.repeat(rng.normal(size=(400, 3)) * 1e6, 2, axis=0) + rng.normal(size=(800, 3))
    unsettled = []
    choose = plusplus.Seeding._choose
    monkeypatch.setattr(plusplus.Seeding, "_choose", lambda s, row: (choose(s, row), unsettled.append(s.unsettled)))
    for dtype in (np.float32, np.float64):
        for seed in range(2):
            assert rows_of(X.astype(dtype), 400, seed) == oracle.kmeans_plusplus(X.astype(dtype), None, 400, seed)
    assert max(unsettled) == panel_gains.MOST_UNSETTLED


def test_lean_seeding_keeps_nothing_of_the_rows():
    """With algorithm="lloyd" memory counts: neither codes nor tables, and the same rows."""
    X = np.random.default_rng(0).normal(size=(4000, 96)).astype(np.float32)
    rows, kept = [], []
    for lean in (False, True):
        source = data.Data(as_points(X), None, 1)
        source.lean = lean
        with simd.force_lanes(WIDTH):
            chosen, found = seeding.plusplus(source, 40, seeding.stream_of(np.random.SeedSequence(3)))
        rows.append(chosen)
        kept.append(found.columns > 0 or found.visits.codes is not None)
    assert rows[0] == rows[1]
    assert kept == [True, False]
    fits = [KMeans(40, random_state=0, n_init=1, max_iter=3, algorithm=name).fit(X) for name in ("lloyd", "auto")]
    np.testing.assert_array_equal(fits[0].cluster_centers_, fits[1].cluster_centers_)
