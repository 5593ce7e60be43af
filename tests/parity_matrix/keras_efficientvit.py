"""EfficientViT once more, in Keras: written from the paper's section 3 with Keras' own layers, NHWC, and converted by
TensorFlow.

Runs under the Python of the tensorflow runtime's environment:

    python keras_efficientvit.py FOLDER

FOLDER holds ``config.json`` (the fields of EfficientViTConfig, and ``resolution``), ``weights.npz`` (a PyTorch state
dict) and ``image.npy`` (NHWC). Written there: ``logits.npy``, what Keras computes, and ``keras.tflite``, what
``tf.lite.TFLiteConverter`` makes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

EPSILON = 1e-5  # PyTorch's default for both normalisations; Keras' own is 1e-3


class Net:
    """Builds the functional graph; ``weights`` are looked up by the PyTorch names."""

    def __init__(self, weights: dict[str, np.ndarray], config: dict[str, Any]) -> None:
        self.weights, self.config = weights, config

    def layer(self, layer: layers.Layer, x: Any, *values: np.ndarray) -> Any:
        y = layer(x)
        layer.set_weights(list(values))
        return y

    def conv(self, x: Any, name: str, stride: int = 1) -> Any:
        """A convolution with PyTorch's symmetric padding of kernel_size // 2; depthwise where each filter sees one
        channel.
        """
        kernel = self.weights[f"{name}.weight"]  # [out, in / groups, k, k]
        biases = [self.weights[f"{name}.bias"]] if f"{name}.bias" in self.weights else []
        size = kernel.shape[2]
        if size > 1:
            x = layers.ZeroPadding2D(size // 2)(x)
        if kernel.shape[1] == 1 and x.shape[-1] > 1:
            depthwise = layers.DepthwiseConv2D(size, stride, use_bias=bool(biases))
            return self.layer(depthwise, x, kernel.transpose(2, 3, 0, 1), *biases)
        full = layers.Conv2D(kernel.shape[0], size, stride, use_bias=bool(biases))
        return self.layer(full, x, kernel.transpose(2, 3, 1, 0), *biases)

    def conv_bn(self, x: Any, name: str, stride: int = 1, act: bool = True) -> Any:
        x = self.conv(x, f"{name}.conv", stride)
        values = [self.weights[f"{name}.norm.{key}"] for key in ("weight", "bias", "running_mean", "running_var")]
        x = self.layer(layers.BatchNormalization(epsilon=EPSILON), x, *values)
        return layers.Activation("hard_swish")(x) if act else x

    def layer_norm(self, x: Any, name: str) -> Any:
        return self.layer(
            layers.LayerNormalization(epsilon=EPSILON), x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        )

    def mbconv(self, x: Any, name: str, stride: int) -> Any:
        y = self.conv_bn(x, f"{name}.expand")
        y = self.conv_bn(y, f"{name}.depthwise", stride)
        y = self.conv_bn(y, f"{name}.project", act=False)
        if stride == 2:
            x = self.conv(layers.AveragePooling2D(2)(x), f"{name}.shortcut.1")
        return layers.Add()([x, y])

    def attention(self, x: Any, name: str, heads: int) -> Any:
        """Equation (4), token by token: out_i = relu(q_i) (sum_j relu(k_j)^T v_j) / (relu(q_i) . sum_j relu(k_j) +
        eps).
        """
        _, height, width, _ = x.shape
        dim = self.config["head_dim"]
        qkv = self.conv(self.layer_norm(x, f"{name}.norm"), f"{name}.qkv")
        qkv = layers.Reshape((height * width, 3, heads, dim))(qkv)
        q, k, v = (layers.Permute((2, 1, 3))(qkv[:, :, part]) for part in range(3))  # [B, heads, N, dim]
        q, k = layers.ReLU()(q), layers.ReLU()(k)
        context = ops.matmul(ops.transpose(k, (0, 1, 3, 2)), v)  # [B, heads, dim, dim]
        total = ops.sum(k, axis=2, keepdims=True)  # [B, heads, 1, dim]
        out = ops.matmul(q, context) / (ops.sum(q * total, axis=-1, keepdims=True) + 1e-6)
        out = layers.Reshape((height, width, heads * dim))(layers.Permute((2, 1, 3))(out))
        return layers.Add()([x, self.conv(out, f"{name}.proj")])

    def feed_forward(self, x: Any, name: str) -> Any:
        y = layers.Activation("hard_swish")(self.conv(self.layer_norm(x, f"{name}.norm"), f"{name}.expand"))
        y = layers.Activation("hard_swish")(self.conv(y, f"{name}.depthwise"))
        return layers.Add()([x, self.conv(y, f"{name}.project")])

    def dense(self, x: Any, name: str) -> Any:
        weight = self.weights[f"{name}.weight"]
        return self.layer(layers.Dense(weight.shape[0]), x, weight.T, self.weights[f"{name}.bias"])

    def build(self) -> keras.Model:
        side = self.config["resolution"]
        image = keras.Input((side, side, 3), batch_size=1, name="image")
        x = self.conv_bn(image, "backbone.stem.0", stride=2)
        y = self.conv_bn(self.conv_bn(x, "backbone.stem.1.depthwise"), "backbone.stem.1.project", act=False)
        x = layers.Add()([x, y])
        for stage, depth in enumerate(self.config["stage_depths"]):
            x = self.mbconv(x, f"backbone.stages.{stage}.0", 2)
            for block in range(depth):
                if stage < 2:
                    x = self.mbconv(x, f"backbone.stages.{stage}.{block + 1}", 1)
                else:
                    x = self.attention(x, f"backbone.stages.{stage}.{2 * block + 1}", self.config["heads"][stage - 2])
                    x = self.feed_forward(x, f"backbone.stages.{stage}.{2 * block + 2}")
        x = layers.GlobalAveragePooling2D()(self.conv_bn(x, "head.conv"))
        x = layers.Activation("hard_swish")(self.dense(x, "head.hidden"))
        return keras.Model(image, self.dense(x, "head.classify"))


def main(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    with np.load(folder / "weights.npz") as stored:
        weights = dict(stored)
    model = Net(weights, config).build()
    np.save(folder / "logits.npy", np.asarray(model(np.load(folder / "image.npy"), training=False)))
    (folder / "keras.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
