"""Programs that scikit-learn publishes for its k-means, on data that it ships: they work with one import changed.

Each is a text that imports from ``sklearn.cluster``, shortened to what it computes, and runs twice: as it stands, and
with the import changed. The results must agree as far as different random numbers let them.
"""

import numpy as np
import pytest
from sklearn.datasets import load_digits

PROGRAMS = {
    "digits": """
from sklearn.cluster import KMeans
from sklearn import metrics
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

data, labels = (part[::4] for part in load_digits(return_X_y=True))
pca = PCA(n_components=10, random_state=0).fit(data)
results = []
for init, n_init in (("k-means++", 4), ("random", 4), (pca.components_, 1)):
    kmeans = KMeans(init=init, n_clusters=10, n_init=n_init, random_state=0)
    estimator = make_pipeline(StandardScaler(), kmeans).fit(data)
    found = estimator[-1].labels_
    results.append([
        estimator[-1].inertia_,
        metrics.v_measure_score(labels, found),
        metrics.adjusted_rand_score(labels, found),
        metrics.silhouette_score(data, found, metric="euclidean", sample_size=200, random_state=0),
    ])
reduced = PCA(n_components=2, random_state=0).fit_transform(data)
kmeans = KMeans(init="k-means++", n_clusters=10, n_init=4, random_state=0).fit(reduced)
grid = kmeans.predict([[x, y] for x in range(-30, 30, 5) for y in range(-30, 30, 5)])
result = [*results[0], *results[1], kmeans.inertia_, len(set(grid.tolist()))]
tolerance = 0.15
""",
    "color quantization": """
import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image
from sklearn.utils import shuffle

china = np.array(load_sample_image("china.jpg"), dtype=np.float64) / 255
w, h, d = original_shape = tuple(china.shape)
image_array = np.reshape(china, (w * h, d))[::70]
kmeans = KMeans(n_clusters=64, random_state=0).fit(shuffle(image_array, random_state=0, n_samples=1000))
labels = kmeans.predict(image_array)
recreated = kmeans.cluster_centers_[labels]
result = [np.mean((recreated - image_array) ** 2), len(np.unique(labels)), *recreated.mean(axis=0)]
tolerance = 0.1
""",
    "document clustering": """
import numpy as np
import sklearn.datasets
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import homogeneity_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

loaders = [getattr(sklearn.datasets, "load_" + name) for name in ("iris", "wine", "breast_cancer", "diabetes")]
texts = [line for loader in loaders for line in loader().DESCR.split("\\n\\n") if len(line) > 60]
origin = [i for i, loader in enumerate(loaders) for line in loader().DESCR.split("\\n\\n") if len(line) > 60]
vectorizer = TfidfVectorizer(max_df=0.5, min_df=2, stop_words="english")
X_tfidf = vectorizer.fit_transform(texts)
direct = KMeans(n_clusters=4, max_iter=100, n_init=20, random_state=0).fit(X_tfidf)
lsa = make_pipeline(TruncatedSVD(n_components=10, random_state=0), Normalizer(copy=False))
X_lsa = lsa.fit_transform(X_tfidf)
kmeans = KMeans(n_clusters=4, max_iter=100, n_init=20, random_state=0).fit(X_lsa)
cluster_ids, cluster_sizes = np.unique(kmeans.labels_, return_counts=True)
original_space_centroids = lsa[0].inverse_transform(kmeans.cluster_centers_)
terms = vectorizer.get_feature_names_out()[original_space_centroids.argsort()[:, ::-1][:, :10]]
minibatch = MiniBatchKMeans(n_clusters=4, n_init=20, init_size=1000, batch_size=1000, random_state=0).fit(X_lsa)
result = [direct.inertia_, kmeans.inertia_, minibatch.inertia_, len(cluster_sizes), terms.shape[1]]
tolerance = 0.15
""",
    "silhouette analysis": """
from sklearn.cluster import KMeans
from sklearn.datasets import make_blobs
from sklearn.metrics import silhouette_samples, silhouette_score

X, y = make_blobs(
    n_samples=500, n_features=2, centers=4, cluster_std=1, center_box=(-10.0, 10.0), shuffle=True, random_state=1
)
result = []
for n_clusters in [2, 3, 4, 5, 6]:
    clusterer = KMeans(n_clusters=n_clusters, random_state=10, n_init=5)
    cluster_labels = clusterer.fit_predict(X)
    result.append(silhouette_score(X, cluster_labels))
    sample_silhouette_values = silhouette_samples(X, cluster_labels)
    assert len(sample_silhouette_values[cluster_labels == 0]) > 0
    centers = clusterer.cluster_centers_
    assert centers[:, 0].shape == (n_clusters,)
tolerance = 0.05
""",
    "mini-batch comparison": """
import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import make_blobs
from sklearn.metrics.pairwise import pairwise_distances_argmin

centers = [[1, 1], [-1, -1], [1, -1]]
X, labels_true = make_blobs(n_samples=3000, centers=centers, cluster_std=0.7, random_state=0)
k_means = KMeans(init="k-means++", n_clusters=3, n_init=10, random_state=0).fit(X)
mbk = MiniBatchKMeans(
    init="k-means++", n_clusters=3, batch_size=1024, n_init=10, max_no_improvement=10, verbose=0, random_state=0
).fit(X)
k_means_cluster_centers = k_means.cluster_centers_
order = pairwise_distances_argmin(k_means.cluster_centers_, mbk.cluster_centers_)
mbk_means_cluster_centers = mbk.cluster_centers_[order]
k_means_labels = pairwise_distances_argmin(X, k_means_cluster_centers)
mbk_means_labels = pairwise_distances_argmin(X, mbk_means_cluster_centers)
different = np.mean(k_means_labels != mbk_means_labels)
assert different < 0.05, different
result = [k_means.inertia_, mbk.inertia_, *np.sort(mbk_means_cluster_centers[:, 0])]
tolerance = 0.06
""",
    "bisecting": """
import numpy as np
from sklearn.cluster import BisectingKMeans, KMeans
from sklearn.datasets import make_blobs

X, _ = make_blobs(n_samples=2000, centers=2, random_state=0)
result = []
for name, Algorithm in {"Bisecting K-Means": BisectingKMeans, "K-Means": KMeans}.items():
    for n_clusters in [4, 8, 16]:
        algo = Algorithm(n_clusters=n_clusters, random_state=0, n_init=3).fit(X)
        result.append(algo.inertia_)
        assert algo.cluster_centers_[:, 1].shape == (n_clusters,)
        assert (algo.predict(X) == algo.labels_).all()
tolerance = 0.12
""",
    "user guide": """
import numpy as np
from sklearn.cluster import KMeans, k_means, kmeans_plusplus
from sklearn.datasets import load_iris
from sklearn.metrics import pairwise_distances_argmin

X = load_iris().data
centers_init, indices = kmeans_plusplus(X, n_clusters=3, random_state=0)
assert (X[indices] == centers_init).all()
first = KMeans(n_clusters=3, init=X[[0, 60, 120]], n_init=1).fit(X, sample_weight=np.ones(len(X)))
centroid, label, inertia = k_means(X, n_clusters=3, init=X[[0, 60, 120]], n_init=1)
assert (first.labels_ == label).all() and (pairwise_distances_argmin(X, centroid) == label).all()
result = [inertia, first.n_iter_, *first.cluster_centers_.ravel(), *first.transform(X[:2]).ravel(), first.score(X)]
tolerance = 1e-9
""",
}


def outcome(text):
    space = {}
    exec(compile(text, "<example>", "exec"), space)
    return np.array(space["result"], float), space["tolerance"]


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_published_examples(name):
    text = PROGRAMS[name]
    changed = text.replace("from sklearn.cluster import", "from fastkmeans import")
    assert changed.count("\n") == text.count("\n") and changed != text
    theirs, tolerance = outcome(text)
    ours, _ = outcome(changed)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def test_the_article_side_by_side(xclara):
    """The introduction's own comparison: its data, three clusters, both libraries, centers equal up to order."""
    from sklearn.cluster import KMeans as Theirs

    from fastkmeans import KMeans

    theirs = Theirs(n_clusters=3, n_init=10, random_state=0).fit(xclara)
    ours = KMeans(n_clusters=3, n_init=10, random_state=0).fit(xclara)
    order, their_order = (np.argsort(model.cluster_centers_[:, 0]) for model in (ours, theirs))
    np.testing.assert_allclose(ours.cluster_centers_[order], theirs.cluster_centers_[their_order], rtol=1e-3)
    back = np.argsort(order)[ours.labels_] != np.argsort(their_order)[theirs.labels_]
    assert back.sum() <= 3
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)
    np.testing.assert_allclose(ours.cluster_centers_[order][0], [9.478, 10.686], atol=0.01)


def test_a_callable_gets_the_data_as_it_is():
    data = load_digits().data[:100]
    from fastkmeans import KMeans

    KMeans(2, init=lambda X, k, random_state: X[:k] if X is data else 1 / 0).fit(data)
