# SPDX-License-Identifier: Apache-2.0
"""Small models of Keras, as a user has them."""

import json

import h5py
import numpy as np

SIZE, CLASSES = 8, 5


def sequential(keras):
  layers = keras.layers
  return keras.Sequential(
    [
      layers.Input((SIZE, SIZE, 3)),
      layers.RandomFlip(),
      layers.Rescaling(1 / 127.5, -1),
      layers.Conv2D(4, 3, activation='relu'),
      layers.BatchNormalization(),
      layers.DepthwiseConv2D(3, padding='same', activation='relu'),
      layers.GlobalAveragePooling2D(),
      layers.Dropout(0.5),
      layers.Dense(CLASSES, activation='softmax'),
    ]
  )


def functional(keras):
  layers = keras.layers
  images = layers.Input((SIZE, SIZE, 3))
  scaled = layers.Normalization(mean=[120, 115, 100], variance=[4e3] * 3)(
    images
  )
  maps = layers.Conv2D(6, 3, strides=2, padding='same')(scaled)
  maps = layers.BatchNormalization()(maps)
  more = layers.DepthwiseConv2D(3, padding='same', depth_multiplier=1)(maps)
  pooled = layers.GlobalAveragePooling2D(keepdims=True)(
    layers.add([maps, more])
  )
  scores = layers.Conv2D(CLASSES, 1)(layers.Dropout(0.1)(pooled))
  scores = layers.Reshape((CLASSES,))(scores)
  return keras.Model(images, layers.Activation('softmax')(scores))


def of(keras, layers):
  return keras.Sequential([keras.layers.Input((SIZE, SIZE, 3)), *layers])


def nested(keras):
  images = keras.layers.Input((SIZE, SIZE, 3))
  base = of(keras, sequential(keras).layers[:-1])
  base.trainable = False
  return keras.Model(images, keras.layers.Dense(CLASSES)(base(images)))


def headless(keras):
  return of(keras, sequential(keras).layers[:-2])


def save(keras, make, path):
  """Saves a model with weights that are not those of a start."""
  model = make(keras)
  rng = np.random.default_rng(1)
  model.set_weights(
    [
      rng.uniform(0.2, 1, w.shape).astype(w.dtype) * 0.5
      if w.dtype == np.float32
      else w
      for w in model.get_weights()
    ]
  )
  model.save(path)
  return model


def save_keras_2(path, kernel, bias):
  """Writes a pooling and a softmax as Keras 2 did, which we have not here."""
  layers = {
    'InputLayer': {'batch_input_shape': [None, SIZE, SIZE, 3]},
    'Rescaling': {'scale': 1 / 128, 'offset': -1.0},
    'GlobalAveragePooling2D': {'data_format': 'channels_last'},
    'Dense': {
      'units': len(bias),
      'activation': 'softmax',
      'kernel_initializer': {
        'class_name': 'GlorotUniform',
        'config': {'seed': None},
      },
    },
  }
  layers = [
    {'class_name': kind, 'config': {'name': kind, 'dtype': 'float32', **config}}
    for kind, config in layers.items()
  ]
  config = {'name': 'sequential', 'layers': layers}
  with h5py.File(path, 'w') as file:
    whole = {'class_name': 'Sequential', 'config': config}
    file.attrs['model_config'] = json.dumps(whole)
    group = file.create_group('model_weights')
    group.attrs.update(keras_version='2.10.0', backend='tensorflow')
    group.attrs['layer_names'] = [b'Dense']
    dense = group.create_group('Dense')
    dense.attrs['weight_names'] = [b'Dense/kernel:0', b'Dense/bias:0']
    dense['Dense/kernel:0'], dense['Dense/bias:0'] = kernel, bias
