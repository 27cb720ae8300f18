"""Numbers kept beside scales are read right, by a slow reading of what the formats' papers say."""

import json

import numpy as np
import pytest
from safetensors.numpy import save as to_bytes
from trace_made import made, print_of

from headwater.trace.agree import agree
from headwater.trace.judge import judge
from headwater.trace.null import NullLibrary
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix
from headwater.weights import safetensors, scaled
from headwater.weights.source import BytesSource, FileSource

FLOAT4 = [0, 0.5, 1, 1.5, 2, 3, 4, 6]


def mxfp4(array):
    """(blocks, scales) of the nearest numbers, as gpt-oss stores them."""
    groups = array.reshape(*array.shape[:-1], -1, 32)
    exponents = np.ceil(np.log2(np.maximum(np.abs(groups).max(-1), 1e-30) / 6)).astype(int)
    whole = groups / 2.0 ** exponents[..., None]
    codes = np.abs(np.abs(whole)[..., None] - np.array(FLOAT4)).argmin(-1) + 8 * (whole < 0)
    return (codes[..., ::2] | codes[..., 1::2] << 4).astype(np.uint8), (exponents + 127).astype(np.uint8)


def slowly(blocks, scales):
    """Number by number."""
    found = np.zeros((*blocks.shape[:-2], blocks.shape[-2] * 32), np.float32)
    for at in np.ndindex(blocks.shape):
        for half, code in enumerate((blocks[at] & 15, blocks[at] >> 4)):
            number = FLOAT4[code & 7] * (-1 if code & 8 else 1) * 2.0 ** (int(scales[at[:-1]]) - 127)
            found[(*at[:-2], at[-2] * 32 + 2 * at[-1] + half)] = number
    return found


def reader(tensors):
    data = to_bytes(tensors)
    return Reader(lambda _: BytesSource(data), {"model.safetensors": len(data)})


def test_mxfp4_beside_its_scales_is_read_as_one_tensor(tmp_path):
    blocks, scales = mxfp4(np.random.default_rng(0).normal(size=(3, 6, 64)))
    exact = slowly(blocks, scales)
    with reader({"x_blocks": blocks, "x_scales": scales, "other_blocks": blocks}) as opened:
        assert {t.name: t.shape for t in opened.header.tensors} == {"x": (3, 6, 64), "other_blocks": (3, 6, 2, 16)}
        whole = opened.header.tensors[[t.name for t in opened.header.tensors].index("x")]
        size = whole.nbytes // 3
        for expert in range(3):
            one = whole._replace(name=f"x[{expert}]", shape=(6, 64), start=whole.start + expert * size,
                                 stop=whole.start + (expert + 1) * size)
            assert np.array_equal(opened.rows(Matrix(one), np.array([5, 0])), exact[expert][[5, 0]])
            assert np.array_equal(opened.rows(Matrix(one, True, (1, 64), 2), np.arange(32)), exact[expert].T[1::2])
            assert np.array_equal(opened.corner(Matrix(one, False, (1, 6), 2), np.arange(2), 40),
                                  exact[expert][[1, 3], :40])
            squares = opened.squares(Matrix(one, False, (0, 6), 2), None, None, 32)
            assert np.allclose(squares, (exact[expert][::2, :32] ** 2).sum(1))


def _float8(code):
    """E4M3, by the OCP 8-bit floating point specification."""
    exponent, mantissa = code >> 3 & 15, code & 7
    size = mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7)
    return np.nan if code & 127 == 127 else -size if code & 128 else size


FLOAT8 = np.array([_float8(code) for code in range(256)], np.float32)


def float8(codes):
    return FLOAT8[codes]


def nearest_float8(array):
    order = np.argsort(FLOAT8[:127])
    near = np.searchsorted(FLOAT8[:127][order], np.abs(array)).clip(0, 126)
    return (order[near] | np.where(array < 0, 128, 0)).astype(np.uint8)


def save_float8(path, tensors, codes):
    """safetensors' numpy side does not write 8-bit floats: the bytes go in as whole numbers and are renamed."""
    data = to_bytes(tensors | codes)
    size = int.from_bytes(data[:8], "little")
    head = data[8:8 + size].decode()
    for name in codes:
        at = head.index(f'"{name}":')
        head = head[:at] + head[at:].replace('"dtype":"U8"', '"dtype":"F8_E4M3"', 1)
    packed = head.encode()
    path.write_bytes(len(packed).to_bytes(8, "little") + packed + data[8 + size:])


@pytest.mark.parametrize(("name", "shape", "rows", "columns"), [
    ("w.weight_scale_inv", (3, 2), 128, 128), ("w.weight_scale", (300, 1), 1, 200), ("w.weight_scale", (300,), 1, 200),
    ("w.weight_scale", (1,), 300, 200)])
def test_8_bit_floats_count_times_the_scale_of_their_block(tmp_path, name, shape, rows, columns):
    rng = np.random.default_rng(1)
    codes, scale = rng.integers(0, 127, (300, 200)).astype(np.uint8), rng.random(shape).astype(np.float32) + 0.1
    save_float8(tmp_path / "model.safetensors", {name: scale}, {"w.weight": codes})
    table = scale.reshape(-1, shape[1] if len(shape) > 1 else 1)
    exact = float8(codes) * table[np.arange(300)[:, None] // rows, np.arange(200) // columns]
    size = (tmp_path / "model.safetensors").stat().st_size
    with Reader(lambda _: FileSource(tmp_path / "model.safetensors"), {"model.safetensors": size}) as opened:
        assert [t.name for t in opened.header.tensors] == ["w.weight"]
        matrix = Matrix(opened.header.tensors[0])
        asked = np.array([299, 0, 128, 127, 5])
        assert np.array_equal(opened.rows(matrix, asked), exact[asked])
        assert np.array_equal(opened.rows(Matrix(matrix.tensor, True), asked % 200), exact.T[asked % 200])
        assert np.array_equal(opened.corner(matrix, np.arange(120, 140), 150), exact[120:140, :150])


def test_scales_that_fit_nothing_are_left_as_tensors_of_their_own():
    data = to_bytes({"w.weight": np.zeros((300, 200), np.uint8), "w.weight_scale_inv": np.ones((7, 5), np.float32),
                     "x_blocks": np.zeros((4, 2, 16), np.uint8), "x_scales": np.zeros((4, 3), np.uint8)})
    header = safetensors.read_header(BytesSource(data))
    small = tuple(t._replace(dtype="F8_E4M3") if t.name == "w.weight" else t for t in header.tensors)
    seen, found = scaled.find_scaled(type(header)("safetensors", {}, small))
    assert len(seen.tensors) == 4 and not found


def gpt_oss(model, packed):
    """Experts of two halves of the neurons, gate and up row by row in turns: packed, or widened as (in, out)."""
    tensors = {"model.embed_tokens.weight": model.embed.astype(np.float16)}
    for n, y in enumerate(model.layers):
        stem, halves = f"model.layers.{n}.mlp.experts", (slice(0, 64), slice(64, 128))
        fused = np.stack([np.stack([y["gate"][h], y["up"][h]], 1).reshape(128, -1) for h in halves])
        down = np.stack([y["down"][:, h] for h in halves])
        for name, array in (("gate_up_proj", fused), ("down_proj", down)):
            blocks, scales = mxfp4(array)
            if packed:
                tensors |= {f"{stem}.{name}_blocks": blocks, f"{stem}.{name}_scales": scales}
            else:
                tensors[f"{stem}.{name}"] = slowly(blocks, scales).swapaxes(1, 2).astype(np.float16).copy()
        tensors[f"{stem}.gate_up_proj_bias"] = np.zeros((2, 128), np.float16)
        tensors[f"model.layers.{n}.post_attention_layernorm.weight"] = y["norm2"].astype(np.float16)
    return tensors


@pytest.mark.parametrize("width", [64, 96])
def test_gpt_oss_in_4_bits_and_widened_is_one_model(tmp_path, width):
    model = made(1, d=width, f=128, layers=2, vocabulary=1600)
    prints = []
    for packed in (True, False):
        folder = tmp_path / str(packed)
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(to_bytes(gpt_oss(model, packed)))
        (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(model.words)}))
        prints.append(print_of(folder))
    assert [p.architecture.form for p in prints] == ["gated", "gated"]
    assert prints[0].architecture.neurons == 128 and prints[0].architecture.experts == 2
    assert agree(*prints).median == 1
    assert [y.raw["gate"].tobytes() for y in prints[0].layers] == [y.raw["gate"].tobytes() for y in prints[1].layers]
    said = judge(*prints, NullLibrary.load())
    assert said.verdict.kin, said.says


def test_deepseeks_8_bits_and_their_widened_copy_are_one_model(tmp_path):
    model = made(2, d=192, f=320, layers=2, vocabulary=1600)
    small, codes, plain = {"model.embed_tokens.weight": model.embed}, {}, {"model.embed_tokens.weight": model.embed}
    for n, y in enumerate(model.layers):
        for part in ("gate", "up", "down"):
            name, array = f"model.layers.{n}.mlp.{part}_proj.weight", y[part] * 3
            scale = np.random.default_rng(n).random((-(-array.shape[0] // 128), -(-array.shape[1] // 128))) + 0.01
            wide = np.repeat(np.repeat(scale, 128, 0), 128, 1)[:array.shape[0], :array.shape[1]].astype(np.float32)
            codes[name], small[f"{name}_scale_inv"] = nearest_float8(array / wide), scale.astype(np.float32)
            plain[name] = float8(codes[name]) * wide
        plain[f"model.layers.{n}.input_layernorm.weight"] = small[f"model.layers.{n}.input_layernorm.weight"] = \
            np.ones(192, np.float32)
    for name, tensors, eight in (("small", small, codes), ("plain", plain, {})):
        (tmp_path / name).mkdir()
        save_float8(tmp_path / name / "model.safetensors", tensors, eight)
        (tmp_path / name / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(model.words)}))
    one, other = print_of(tmp_path / "small"), print_of(tmp_path / "plain")
    assert agree(one, other).median == 1
    assert [y.raw["up"].tobytes() for y in one.layers] == [y.raw["up"].tobytes() for y in other.layers]
