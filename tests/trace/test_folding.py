"""What a LayerNorm takes off a row is no part of what the row means: copies that hide behind it are found."""

import numpy as np
import pytest
from trace_made import made, print_of, save

from headwater.trace.agree import agree


def gpt2(model, *, bias=True):
    """As GPT-2 stores it: (in, out), LayerNorms with a bias."""
    tensors = {"wte.weight": model.embed}
    for n, y in enumerate(model.layers):
        tensors |= {f"h.{n}.attn.c_attn.weight": np.concatenate([y["q"]] * 3).T, f"h.{n}.mlp.c_fc.weight": y["up"].T,
                    f"h.{n}.mlp.c_proj.weight": y["down"].T, f"h.{n}.ln_2.weight": y["norm2"]}
        if bias:
            tensors[f"h.{n}.ln_2.bias"] = np.zeros_like(y["norm2"])
    return tensors


def bert(model):
    tensors = {"embeddings.word_embeddings.weight": model.embed}
    for n, y in enumerate(model.layers):
        stem = f"encoder.layer.{n}"
        tensors |= {f"{stem}.attention.self.query.weight": y["q"], f"{stem}.attention.output.dense.weight": y["o"],
                    f"{stem}.intermediate.dense.weight": y["up"], f"{stem}.output.dense.weight": y["down"]}
        for where in ("attention.output", "output"):
            tensors |= {f"{stem}.{where}.LayerNorm.weight": y["norm2"],
                        f"{stem}.{where}.LayerNorm.bias": np.zeros_like(y["norm2"])}
    return tensors


@pytest.fixture(scope="module")
def leaning():
    """A model whose rows lean along the direction that LayerNorm takes off, as trained ones may."""
    model, rng = made(5, layers=3), np.random.default_rng(0)
    model.embed += rng.normal(size=(len(model.embed), 1)).astype(np.float32) * 2
    for layer in model.layers:
        layer["norm2"] = np.abs(layer["norm2"]) + 0.2
        layer["up"] += rng.normal(size=(len(layer["up"]), 1)).astype(np.float32) * 0.2 / layer["norm2"]
    return model


def without_mean(rows):
    return rows - rows.mean(-1, keepdims=True)


def turned(model):
    """The mean and the gain folded into the matrices, the stream rotated, all norms ones: the same function."""
    d = model.embed.shape[1]
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(d, d)))[0].astype(np.float32)
    layers = [y | {"up": without_mean(y["up"] * y["norm2"]) @ turn, "down": turn.T @ without_mean(y["down"].T).T,
                   "q": y["q"] @ turn, "norm2": np.ones(d, np.float32)} for y in model.layers]
    return type(model)(model.words, without_mean(model.embed) @ turn, layers)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_norm_folded_away_and_the_stream_rotated_changes_nothing(leaning, tmp_path, bias):
    one = print_of(save(tmp_path / "a", gpt2(leaning), leaning.words, np.float32))
    other = print_of(save(tmp_path / "b", gpt2(turned(leaning), bias=bias), leaning.words, np.float32))
    assert agree(one, other).median > 0.9
    # A norm without a bias is read as RMSNorm, which has no silent direction; nothing lies along it in this copy.
    assert one.frame["lean"] == pytest.approx(other.frame["lean"], rel=0.1)


def test_rows_that_lean_along_what_bert_takes_off_agree_with_those_that_do_not(leaning, tmp_path):
    straight = [y | {"up": without_mean(y["up"] * y["norm2"]) / y["norm2"], "down": without_mean(y["down"].T).T}
                for y in leaning.layers]
    copy = type(leaning)(leaning.words, without_mean(leaning.embed), straight)
    one = print_of(save(tmp_path / "a", bert(leaning), leaning.words, np.float32))
    assert agree(one, print_of(save(tmp_path / "b", bert(copy), copy.words, np.float32))).median > 0.9
