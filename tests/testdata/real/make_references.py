# SPDX-License-Identifier: Apache-2.0
"""Writes what the original frameworks give of the checkpoints in this folder.

  python tests/testdata/real/make_references.py FOLDER

FOLDER has the packages of README.md, unpacked. Needs onnxruntime, TensorFlow
and Keras; tests read only what it has written.
"""

import os
import pathlib
import sys

os.environ['KERAS_BACKEND'] = 'tensorflow'

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf

HERE = pathlib.Path(__file__).parent
_LUMA = np.float32([0.299, 0.587, 0.114])


def images(size: int) -> np.ndarray:
  """Noise and a ramp of colours, [2, size, size, 3] from -1 to 1."""
  noise = np.random.default_rng(0).uniform(-1, 1, (size, size, 3))
  ramp = np.linspace(-1, 1, size)
  colours = np.stack([ramp, -ramp, ramp / 2], -1)
  return np.float32([noise, np.broadcast_to(colours, noise.shape)])


def by_onnxruntime(path: pathlib.Path) -> list[np.ndarray]:
  """What the last product with weights reads, and what the softmax reads."""
  model = onnx.load(path)
  nodes = list(model.graph.node)
  product = next(n for n in reversed(nodes) if n.op_type == 'MatMul')
  softmax = next(n for n in reversed(nodes) if n.op_type == 'Softmax')
  wanted = [product.input[0], softmax.input[0]]
  model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted)
  session = onnxruntime.InferenceSession(model.SerializeToString())
  given = {session.get_inputs()[0].name: images(48).transpose(0, 3, 1, 2)}
  return session.run(wanted, given)


def by_keras(path: pathlib.Path) -> list[np.ndarray]:
  """What the last convolution reads, pooled, and what the softmax reads."""
  model = keras.saving.load_model(path, compile=False)
  last, pool = model.layers[-3:-1]
  both = keras.Model(model.inputs, [last.input, pool.output])
  maps, logits = both((images(64) @ _LUMA)[..., None])
  return [np.mean(maps, (1, 2)), np.asarray(logits)]


def by_tflite(path: pathlib.Path) -> list[np.ndarray]:
  """As `by_keras`, an image at a time."""
  interpreter = tf.lite.Interpreter(
    str(path), experimental_preserve_all_tensors=True
  )
  interpreter.allocate_tensors()
  places = {d['name']: d['index'] for d in interpreter.get_tensor_details()}
  (given,) = interpreter.get_input_details()
  found = []
  for image in images(64) @ _LUMA:
    interpreter.set_tensor(given['index'], image[None, ..., None])
    interpreter.invoke()
    maps, logits = (
      interpreter.get_tensor(places[f'model_1_1/{name}'])
      for name in ('add_4_1/Add', 'global_average_pooling2d_1_1/Mean')
    )
    found.append((maps[0].mean((0, 1)), logits[0]))
  return [np.stack(each) for each in zip(*found, strict=True)]


def main(folder: str) -> None:
  given = pathlib.Path(folder)
  ocr = given / 'rapidocr_onnxruntime/models'
  references = {
    'ch_ppocr_mobile_v2.0_cls_infer': by_onnxruntime(
      ocr / 'ch_ppocr_mobile_v2.0_cls_infer.onnx'
    ),
    'emotion_model': by_keras(given / 'fer/data/emotion_model.hdf5'),
    'emotion_model_quantized': by_tflite(
      given / 'fer/data/emotion_model_quantized.tflite'
    ),
  }
  for name, (features, logits) in references.items():
    np.savez(HERE / f'{name}.npz', features=features, logits=logits)


if __name__ == '__main__':
  main(*sys.argv[1:])
