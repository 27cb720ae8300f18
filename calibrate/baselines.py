"""Published and packaged ways to tell kin, written anew: beside these trace has to stand. Not part of the product.

Each gives a score for two models in memory, higher for kin. Sources: AWM (Zeng et al., arXiv 2510.06738), the std
fingerprint (HonestAGI, 2507.03014), singular-value spectra (GhostSpec, 2511.06390, in its simplest form), and the rule
of the package weightscope 0.4.3.
"""

from __future__ import annotations

import numpy as np
from trace_made import Made, hf_tensors


def assign(cost: np.ndarray) -> np.ndarray:
    """int (n,): the column of each row in the assignment of least cost; n rows, at least as many columns.

    The Hungarian method by shortest augmenting paths; place 0 stands for "no column yet".
    """
    rows, columns = cost.shape
    u, v = np.zeros(rows + 1), np.zeros(columns + 1)
    row_of, came = np.zeros(columns + 1, np.int64), np.zeros(columns + 1, np.int64)
    for row in range(1, rows + 1):
        row_of[0], at = row, 0
        least, used = np.full(columns + 1, np.inf), np.zeros(columns + 1, bool)
        while row_of[at] or at == 0:
            used[at] = True
            here = row_of[at]
            reduced = np.concatenate([[np.inf], cost[here - 1] - u[here] - v[1:]])
            better = ~used & (reduced < least)
            least[better], came[better] = reduced[better], at
            at = int(np.where(used, np.inf, least).argmin())
            step = least[at]
            u[row_of[used]] += step
            v[used] -= step
            least[~used] -= step
        while at:
            row_of[at] = row_of[came[at]]
            at = came[at]
    found = np.full(rows + 1, -1)
    found[row_of[1:]] = np.arange(columns)
    return found[1:]


def awm(a: Made, b: Made) -> float:
    """Embedding columns of shared words are assigned to each other, which gives a signed permutation; unbiased CKA of
    each layer's queries and keys; layers assigned where there are not as many, else number to number."""
    there = {word: n for n, word in enumerate(b.words)}
    shared = [(n, there[word]) for n, word in enumerate(a.words) if word in there]
    if len(shared) < 8:
        return 0.0
    one, two = a.embed[[n for n, _ in shared]], b.embed[[m for _, m in shared]]
    turned = one.shape[1] > two.shape[1]
    small, large = (two, one) if turned else (one, two)
    likeness = _unit(small).T @ _unit(large)
    columns = assign(-np.abs(likeness))
    sign = np.sign(likeness[np.arange(len(columns)), columns])
    left, right = (b, a) if turned else (a, b)
    table = np.zeros((len(left.layers), len(right.layers)))
    same = len(left.layers) == len(right.layers)
    sides = [[_gram(layer[name].T if model is left else layer[name].T[columns] * sign[:, None])
              for layer in model.layers for name in "qk"] for model in (left, right)]
    for i in range(len(left.layers)):
        for j in range(len(right.layers)):
            if not same or i == j:
                table[i, j] = np.mean([_cka(sides[0][2 * i + k], sides[1][2 * j + k]) for k in range(2)])
    if same:
        return float(np.diag(table).mean())
    table = table if len(table) <= table.shape[1] else table.T
    return float(table[np.arange(len(table)), assign(-table)].mean())


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=0), 1e-9)


def _gram(x: np.ndarray) -> np.ndarray:
    k = (x @ x.T).astype(np.float64)
    np.fill_diagonal(k, 0)
    n = len(k)
    # Centred once (Song et al. 2007), so that the unbiased HSIC of two is one product.
    sums = k.sum(1)
    k -= (sums[:, None] + sums[None]) / (n - 2)
    k += sums.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(k, 0)
    return k


def _cka(one: np.ndarray, two: np.ndarray) -> float:
    size = np.sqrt(max(float(np.vdot(one, one)) * float(np.vdot(two, two)), 1e-30))
    return float(np.vdot(one, two)) / size


def std_fingerprint(a: Made, b: Made) -> float:
    """Standard deviations of Q, K, V, O by layer, each series to mean 0 and deviation 1; their correlation."""
    series = []
    count = min(len(a.layers), len(b.layers))
    for model in (a, b):
        found = []
        for name in "qkvo":
            values = np.array([layer[name].std() for layer in model.layers])
            values = np.interp(np.linspace(0, 1, count), np.linspace(0, 1, len(values)), values)
            found.append((values - values.mean()) / max(values.std(), 1e-12))
        series.append(np.concatenate(found))
    return float(np.corrcoef(series)[0, 1]) if count > 1 else 0.0


def spectra(a: Made, b: Made) -> float:
    """Less the mean distance of normalised singular values of Q K' and V O, each layer to the one that suits best."""
    sides = [np.stack([_spectrum(layer) for layer in model.layers]) for model in (a, b)]
    distance = ((sides[0][:, None] - sides[1][None]) ** 2).mean(-1)
    if len(distance) == distance.shape[1]:
        return -float(np.diag(distance).mean())
    distance = distance if len(distance) <= distance.shape[1] else distance.T
    return -float(distance[np.arange(len(distance)), assign(distance)].mean())


def _spectrum(layer: dict[str, np.ndarray], points: int = 48) -> np.ndarray:
    """Of Q K' and O V; where query heads (64 wide) share a value head, what they write adds up."""
    q, k, v, o = (layer[name] for name in "qkvo")
    shared = o.shape[1] // len(v)
    head = min(64, len(v))
    summed = o if shared == 1 else o.reshape(len(o), -1, shared, head).sum(2).reshape(len(o), -1)
    thin = np.linalg.qr(v.T)[1].T
    found = []
    for product in (q @ k.T, summed @ thin):
        values = np.linalg.svd(product, compute_uv=False)
        values = values / max(float(np.linalg.norm(values)), 1e-12)
        found.append(np.interp(np.linspace(0, 1, points), np.linspace(0, 1, len(values)), values))
    return np.concatenate(found)


def weightscope(a: Made, b: Made) -> float:
    """Share of numbers that differ by less than a millionth; none if any tensor is missing or of another shape. Its
    rule: .95 derived, .01 likely descendant, less independent."""
    one, two = hf_tensors(a), hf_tensors(b)
    if {n: x.shape for n, x in one.items()} != {n: x.shape for n, x in two.items()}:
        return 0.0
    same = sum(int((np.abs(one[n] - two[n]) < 1e-6).sum()) for n in one)
    return same / sum(x.size for x in one.values())


BASELINES = {"AWM": awm, "std fingerprint": std_fingerprint, "spectra": spectra, "weightscope": weightscope}
