"""What each tensor of a model does: embedding, head, and for every layer the neurons of its MLP and its norm.

Shapes decide. The width d is what embedding and layers share; a gated MLP is two (f, d) beside one (d, f), a fused one
(2f, d) beside (d, f), a plain one (f, d) beside (d, f); experts are many of these, or one tensor of three dimensions.
Names are asked only where shapes cannot tell: which layer (the number in the name), gate or up, which norm. Without
numbers, the order of the file stands for the layers. How it was found is told (`found_by`).

What fits nothing (vision towers, convolutions, adapters of other shapes) is passed through and counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from headwater.trace.changes import Change, find_changes, find_kept
from headwater.weights.header import Header, Tensor

MAX_EXPERTS = 4_096
_NUMBER = re.compile(r"(?:^|[./_])(\d+)(?=[./_]|$)")
_HEAD = re.compile(r"lm_head|embed_out|output\.weight|(^|\.)head\.|decoder\.weight|output_projection", re.I)
_GATE = re.compile(r"gate|(^|[._])w1([._]|$)|wi_0|fc1_g", re.I)
_UP = re.compile(r"up_|_up|(^|[._])w3([._]|$)|wi_1|fc1_x", re.I)
_DOWN = re.compile(r"down|(^|[._])w2([._]|$)|fc2|(^|[._])wo([._]|$)", re.I)
_ATTENTION = re.compile(r"attn|attention|(^|[._])([qkv]|qkv|kv)(_[ab])?_proj|query|key|value|(^|[._])conv|mixer", re.I)
_TOWER = re.compile(r"vision|visual|image|audio|speech|tower", re.I)
_GAINS = (r"pre_feedforward|ffn_norm|pre_ff|ln_2|norm_2|norm2|mlp_norm|ffn_layernorm|ln_mlp",
          r"post_attention_(layer)?norm|post_attn_norm|final_layer_?norm")
_FIRST = re.compile(r"input_layer_?norm|ln_1|attn_norm|ln_attn", re.I)
_AFTER = re.compile(r"output\.layer_?norm|attn_output_norm|layer_output_norm|output_norm", re.I)
_BIAS = re.compile(r"(bias|beta)$", re.I)


class Matrix(NamedTuple):
    """Neurons of a tensor: its stored rows, or its stored columns if `columns`; of those the ones in `span`, each
    `apart`-th of them."""

    tensor: Tensor
    columns: bool = False
    span: tuple[int, int] | None = None
    apart: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """(neurons, width), whichever way it is stored."""
        return len(range(*self.bounds)), self.tensor.shape[0 if self.columns else 1]

    @property
    def bounds(self) -> tuple[int, int, int]:
        """First stored row (or column), the one behind the last, and the step between two."""
        return *(self.span or (0, self.tensor.shape[1 if self.columns else 0])), self.apart

    @property
    def part(self) -> slice:
        return slice(*self.bounds)

    def stored(self, numbers: np.ndarray) -> np.ndarray:
        """Where these neurons are stored."""
        first, _, step = self.bounds
        return numbers * step + first


@dataclass(frozen=True)
class Layer:
    """gates, ups, downs: one matrix each for a dense MLP, one for each expert (or stack of experts) otherwise; a
    down is seen from its neurons too, (neurons, width). gates is empty for an MLP without a gate. gain: the norm's
    vector before the MLP, or None. attention: the other matrices that read or write the stream, in file order.
    centred: the norm the MLP reads takes the mean off (it has a bias, as LayerNorm does and RMSNorm does not). after:
    where norms stand behind the blocks (BERT), the vector of the one the MLP reads; gain is None then.
    """

    key: str
    gates: tuple[Matrix, ...]
    ups: tuple[Matrix, ...]
    downs: tuple[Matrix, ...]
    gain: Tensor | None = None
    attention: tuple[Matrix, ...] = ()
    centred: bool = False
    after: Tensor | None = None

    @property
    def neurons(self) -> int:
        return sum(matrix.shape[0] for matrix in self.ups)


@dataclass(frozen=True)
class Roles:
    """width: of the stream. embedding, head: None if not found; a tied head is no tensor.

    found_by: "names" where numbers in names told the layers, "order" where the order of the file did, "none" where no
    MLP was found. passed: how many tensors have no role. changes: what an adapter has instead of layers. kept: whole
    matrices that it carries beside them.
    """

    width: int
    embedding: Matrix | None
    head: Matrix | None
    layers: tuple[Layer, ...]
    found_by: Literal["names", "order", "none"]
    passed: int
    changes: tuple[Change, ...] = ()
    kept: tuple[Tensor, ...] = ()

    @property
    def adapter(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """(down, up) of every change: their shapes, whatever they are factored into."""
        return tuple((change.down, change.up) for change in self.changes)


def find_roles(header: Header, tokens: int | None = None, columns: frozenset[str] = frozenset()) -> Roles:
    """tokens: how many the tokenizer has, if known. columns: names of tensors stored as (in, out)."""
    changes = find_changes(header.tensors)
    if changes:
        kept, used = find_kept(header.tensors, changes), sum(change.tensors for change in changes)
        return Roles(0, None, None, (), "names", len(header.tensors) - used - len(kept), changes, kept)
    tables, width = _tables(header.tensors, tokens)
    embedding, head = _embedding_and_head(tables, width, columns)
    taken = {table.name for table in tables}
    rest = [tensor for tensor in header.tensors if tensor.name not in taken and tensor.elements]
    layers, found_by = _numbered(rest, width, columns), "names"
    if not layers:
        layers, found_by = _ordered(rest, width, columns), "order"
    if not layers:
        found_by = "none"
    used = sum(len(_sources(layer)) for layer in layers) + (embedding is not None) + (head is not None)
    return Roles(width, embedding, head, layers, found_by, max(0, len(header.tensors) - used))  # type: ignore[arg-type]


def _sources(layer: Layer) -> set[str]:
    matrices = (*layer.gates, *layer.ups, *layer.downs, *layer.attention)
    return {matrix.tensor.name for matrix in matrices} | ({layer.gain.name} if layer.gain else set())


# --- embedding


def _tables(tensors: Sequence[Tensor], tokens: int | None) -> tuple[list[Tensor], int]:
    """Matrices with a row for every token, in file order, and their width; ([], likely width) when there are none."""
    flat = [t for t in tensors if len(t.shape) == 2 and min(t.shape) > 1]
    seen = Counter(side for tensor in flat for side in set(tensor.shape))
    if not flat:
        return [], 0

    def rows(tensor: Tensor) -> int:
        return max(tensor.shape)

    if tokens:
        near = [t for t in flat if tokens <= rows(t) <= tokens * 1.1 + 1024 or tokens * 0.98 <= rows(t) < tokens]
    else:
        long = [t for t in flat if rows(t) > 4 * min(t.shape)]
        shapes = Counter(tuple(sorted(t.shape)) for t in long)
        # Exporters number everything ("model.0.embeddings"): then the table is the shape that layers do not repeat.
        near = [t for t in long if not _NUMBER.search(t.name)]
        near = near or [t for t in long if shapes[tuple(sorted(t.shape))] <= 2]
        near = [t for t in near if rows(t) == max(map(rows, near))]
    if not near:
        return [], seen.most_common(1)[0][0]
    # With few tokens an MLP may have as many rows: the table is a shape seen at most twice.
    shapes = Counter(tuple(sorted(t.shape)) for t in near)
    few = [t for t in near if shapes[tuple(sorted(t.shape))] <= 2] or near
    width = max((min(t.shape) for t in few), key=lambda w: (seen[w], w))
    return [t for t in few if min(t.shape) == width][:4], width


def _embedding_and_head(tables: list[Tensor], width: int,
                        columns: frozenset[str]) -> tuple[Matrix | None, Matrix | None]:
    """The head is the table whose name says so, else the later one."""
    def matrix(table: Tensor) -> Matrix:
        return Matrix(table, table.shape[1] != width or (table.shape[0] == width and table.name in columns))

    heads = [table for table in tables if _HEAD.search(table.name)]
    inputs = [table for table in tables if table not in heads]
    if not inputs:
        heads, inputs = heads[1:], heads[:1]
    if not heads and len(inputs) > 1:
        heads = inputs[1:]
    return (matrix(inputs[0]) if inputs else None), (matrix(heads[0]) if heads else None)


# --- layers


def layer_key(name: str) -> tuple[str, int] | None:
    """What stands before the first number of a name, and the number."""
    match = _NUMBER.search(name)
    return (name[:match.start(1)], int(match[1])) if match else None


def _numbered(tensors: Iterable[Tensor], width: int, columns: frozenset[str]) -> tuple[Layer, ...]:
    groups: dict[tuple[str, int], list[Tensor]] = defaultdict(list)
    for tensor in tensors:
        key = layer_key(tensor.name)
        if key is not None:
            groups[key].append(tensor)
    made = [(key, _layer(f"{key[0]}{key[1]}", group, width, columns)) for key, group in sorted(groups.items())]
    return _without_towers([layer for _, layer in made if layer is not None])


def _without_towers(layers: list[Layer]) -> tuple[Layer, ...]:
    """A tower as wide as the stream is no part of it: by its name, else by MLPs of the rarer form (gates or none)."""
    stream = [layer for layer in layers if not _TOWER.search(layer.key)] or layers
    gated = [layer for layer in stream if layer.gates]
    plain = [layer for layer in stream if not layer.gates]
    return tuple(gated if len(gated) >= len(plain) else plain)


def _ordered(tensors: Sequence[Tensor], width: int, columns: frozenset[str]) -> tuple[Layer, ...]:
    """Layers cut from the file's order: the k-th down closes the k-th layer, whatever order its members have."""
    matrices = [_seen(tensor, columns) for tensor in tensors if len(tensor.shape) == 2 and width in tensor.shape]
    shapes = Counter(matrix.shape for matrix in matrices)
    hidden = [f for (f, d), count in shapes.items() if d == width and f != width and shapes[(width, f)]
              and count in (shapes[(width, f)], 2 * shapes[(width, f)])]
    fused = [f for (d, f), count in shapes.items() if d == width and f != width and shapes[(2 * f, width)] == count]
    if not hidden and not fused:
        return ()
    inner = max(hidden or fused)
    downs = [m for m in matrices if m.shape == (width, inner)]
    ups = [m for m in matrices if m.shape == ((inner if hidden else 2 * inner), width)]
    each = len(ups) // len(downs)
    layers = []
    for number, down in enumerate(downs):
        mine = [m.tensor for m in ups[number * each:(number + 1) * each]]
        layer = _layer(str(number), [*mine, down.tensor], width, columns)
        if layer is not None:
            layers.append(layer)
    return tuple(layers)


def _seen(tensor: Tensor, columns: frozenset[str]) -> Matrix:
    return Matrix(tensor, tensor.name in columns)


def _layer(key: str, group: list[Tensor], width: int, columns: frozenset[str]) -> Layer | None:
    flat = [_seen(tensor, columns) for tensor in group if len(tensor.shape) == 2]
    # GPT-2 keeps its matrices as (in, out): the fused query-key-value is then (d, 3d).
    shapes = {matrix.shape for matrix in flat}
    if (width, 3 * width) in shapes and (3 * width, width) not in shapes:
        flat = [Matrix(matrix.tensor, not matrix.columns) for matrix in flat]
    gates, ups, downs = _stacked(group, width)
    told = [m for m in flat if not _ATTENTION.search(_last_words(m.tensor.name))]
    if not ups:
        # A matrix of attention may have an expert's shape by chance: where names tell them apart, it is left out.
        gates, ups, downs = next((found for some in (told, flat) if (found := _flat_mlp(some, width))[1]), _NO_MLP)
        if not ups:
            gates, ups, downs = _square(told, width)
    elif any(m.shape[0] != width for m in flat):  # shared experts beside stacked ones
        more = _flat_mlp(told, width)
        if bool(more[0]) == bool(gates):
            gates, ups, downs = gates + more[0], ups + more[1], downs + more[2]
    if not ups:
        return None
    used = {matrix.tensor.name for matrix in (*gates, *ups, *downs)}
    attention = tuple(m for m in flat if m.tensor.name not in used and width in m.shape and min(m.shape) > 1)
    gain, after = _gain(group, width), _after(group, width)
    return Layer(key, tuple(gates), tuple(ups), tuple(downs), gain, attention[:8], _centred(group, gain or after),
                 after)


_Mlp = tuple[list[Matrix], list[Matrix], list[Matrix]]
_NO_MLP: _Mlp = ([], [], [])


def _square(flat: list[Matrix], width: int) -> _Mlp:
    """As many neurons as the stream is wide: only names tell gate, up and down."""
    square = [m for m in flat if m.shape == (width, width)]
    downs = [m for m in square if _DOWN.search(_last_words(m.tensor.name))]
    gates, ups = _gate_and_up([m for m in square if m not in downs])
    if not downs or not len(gates) == len(ups) == len(downs):
        return _NO_MLP
    return gates, ups, [Matrix(m.tensor, not m.columns) for m in downs]


def _flat_mlp(flat: list[Matrix], width: int) -> _Mlp:
    """Every (f, d) with a (d, f) beside it; of several f the gated ones, else the largest."""
    shapes = Counter(matrix.shape for matrix in flat)
    partners = {f: shapes[(width, f)] for d, f in shapes if d == width and f != width}
    gated = [f for f, count in partners.items() if shapes[(f, width)] == 2 * count]
    fused = [f for f, count in partners.items() if shapes[(2 * f, width)] == count and f not in gated]
    plain = [f for f, count in partners.items() if shapes[(f, width)] == count]
    gates: list[Matrix] = []
    ups: list[Matrix] = []
    downs: list[Matrix] = []
    for inner in gated:
        first, second = _gate_and_up([m for m in flat if m.shape == (inner, width)])
        gates, ups = gates + first, ups + second
    for inner in fused if not gated else ():
        for matrix in flat:
            if matrix.shape == (2 * inner, width):
                gates.append(_half(matrix, 0))
                ups.append(_half(matrix, 1))
    inners = gated or fused or ([max(plain)] if plain else [])
    if not gates:
        ups = [m for m in flat if inners and m.shape == (inners[0], width)]
    for inner in inners:
        downs += [Matrix(m.tensor, not m.columns) for m in flat if m.shape == (width, inner)]
    return gates, ups, downs


def _gate_and_up(matrices: list[Matrix]) -> tuple[list[Matrix], list[Matrix]]:
    """By name where both names tell, else in turns."""
    gates = [m for m in matrices if _GATE.search(_last_words(m.tensor.name))]
    ups = [m for m in matrices if m not in gates]
    if len(gates) == len(ups):
        return gates, ups
    ups = [m for m in matrices if _UP.search(_last_words(m.tensor.name))]
    gates = [m for m in matrices if m not in ups]
    return (gates, ups) if len(gates) == len(ups) else (matrices[::2], matrices[1::2])


def _last_words(name: str) -> str:
    """The part of a name behind its last number."""
    return re.split(r"[./]\d+[./]", name)[-1]


def _half(matrix: Matrix, which: int) -> Matrix:
    """The first or the second half of the neurons of a fused matrix."""
    middle = matrix.shape[0] // 2
    return matrix._replace(span=(which * middle, (which + 1) * middle))


def _every_other(matrix: Matrix, which: int) -> Matrix:
    """Gate or up of a fused matrix that has them in turns."""
    return matrix._replace(span=(which, matrix.shape[0]), apart=2)


def _fused(group: list[Tensor], tensor: Tensor, columns: bool) -> tuple[list[Matrix], list[Matrix]]:
    """Gates and ups of a stack of experts that has them in one. gpt-oss, which has them in turns, is told by the bias
    of such a stack, which no other model has."""
    turns = any(t.name == f"{tensor.name}_bias" and len(t.shape) == 2 for t in group)
    cut = _every_other if turns else _half
    experts = [Matrix(expert, columns) for expert in _experts(tensor)]
    return [cut(expert, 0) for expert in experts], [cut(expert, 1) for expert in experts]


def _stacked(group: list[Tensor], width: int) -> _Mlp:
    """Experts in one tensor: (E, f, d) gate, up; (E, d, f) down; or (E, 2f, d); or the same as (in, out)."""
    stacks = [t for t in group if len(t.shape) == 3 and width in t.shape[1:] and t.shape[1] != t.shape[2]
              and t.shape[0] <= MAX_EXPERTS and "conv" not in t.name]
    reading = [t for t in stacks if t.shape[2] == width]
    writing = [t for t in stacks if t.shape[1] == width]
    if not reading or not writing:
        return _stacked_squares(group, width)
    inner = min(t.shape[1] for t in reading)
    if all(t.shape[2] == 2 * inner for t in writing):  # gate_up is (E, d, 2f), down is (E, f, d): stored as (in, out)
        gates, ups = _fused(group, writing[0], True)
        return gates, ups, [Matrix(expert) for expert in _experts(reading[0])]
    if len(reading) == 1 and reading[0].shape[1] == 2 * writing[0].shape[2]:
        gates, ups = _fused(group, reading[0], False)
    else:
        first, second = _gate_and_up([Matrix(t) for t in reading]) if len(reading) == 2 else ([], [Matrix(reading[0])])
        gates, ups = ([Matrix(e) for m in matrices for e in _experts(m.tensor)] for matrices in (first, second))
    return gates, ups, [Matrix(expert, True) for expert in _experts(writing[0])]


def _stacked_squares(group: list[Tensor], width: int) -> _Mlp:
    """The same for experts with as many neurons as the stream is wide: (E, d, d) as gpt-oss has them in GGUF, or
    (E, 2d, d) or (E, d, 2d) beside (E, d, d) as it has them in safetensors. Names tell."""
    stacks = [t for t in group if len(t.shape) == 3 and t.shape[0] <= MAX_EXPERTS and width in t.shape[1:]]
    squares = [t for t in stacks if t.shape[1:] == (width, width)]
    downs = [t for t in squares if _DOWN.search(_last_words(t.name))]
    fused = [t for t in stacks if set(t.shape[1:]) == {width, 2 * width}]
    if len(fused) == len(downs) == 1:
        turned = fused[0].shape[2] != width
        gates, ups = _fused(group, fused[0], turned)
        return gates, ups, [Matrix(expert, not turned) for expert in _experts(downs[0])]
    first = [t for t in squares if t not in downs and _GATE.search(_last_words(t.name))]
    second = [t for t in squares if t not in downs and t not in first]
    if not len(first) == len(second) == len(downs) == 1:
        return _NO_MLP
    return ([Matrix(e) for e in _experts(first[0])], [Matrix(e) for e in _experts(second[0])],
            [Matrix(e, True) for e in _experts(downs[0])])


def _experts(tensor: Tensor) -> list[Tensor]:
    """A stack of matrices, one by one; each is a range of the stack's bytes."""
    size = tensor.nbytes // tensor.shape[0]
    return [tensor._replace(name=f"{tensor.name}[{n}]", shape=tensor.shape[1:], start=tensor.start + n * size,
                            stop=tensor.start + (n + 1) * size) for n in range(tensor.shape[0])]


def _gain(group: list[Tensor], width: int) -> Tensor | None:
    """The norm before the MLP. A model that norms after its blocks (BERT) has none."""
    vectors = [t for t in group if t.elements == width and len(t.shape) <= 2 and not _BIAS.search(t.name)]
    norms = [t for t in vectors if "norm" in t.name.lower() or "ln_" in t.name.lower()]
    if any(_AFTER.search(t.name) for t in norms):
        return None
    for pattern in _GAINS:
        for tensor in norms:
            if re.search(pattern, tensor.name, re.I):
                return tensor
    if len(norms) == 1 and _FIRST.search(norms[0].name):  # attention and MLP side by side read one norm
        return norms[0]
    return vectors[1] if len(vectors) == 2 and not norms else None


def _after(group: list[Tensor], width: int) -> Tensor | None:
    """The norm that an MLP reads in a model that norms after its blocks: the one behind attention."""
    found = [t for t in group if t.elements == width and _AFTER.search(t.name) and "att" in _last_words(t.name).lower()
             and not _BIAS.search(t.name)]
    return found[0] if len(found) == 1 else None


def _centred(group: list[Tensor], norm: Tensor | None) -> bool:
    if norm is None:
        return False
    stem = re.sub(r"(weight|gamma|scale)$", "", norm.name)
    return any(t.elements == norm.elements and t.name in (f"{stem}bias", f"{stem}beta") for t in group)
