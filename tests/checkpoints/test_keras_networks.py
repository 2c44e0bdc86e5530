# SPDX-License-Identifier: Apache-2.0
"""What a model of Keras is for: its features, its logits, and its pixels."""

import numpy as np
import pytest

from neucrab_jax.checkpoints import keras_files, keras_networks

SIZE, WIDTH, CLASSES = 6, 4, 3
IMAGES = np.random.default_rng(0).random((2, SIZE, SIZE, 3), np.float32)
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning')


@pytest.fixture(scope='module')
def keras():
  return keras_files.import_keras()


def sequence(keras, *layers):
  return keras.Sequential([keras.layers.Input((SIZE, SIZE, 3)), *layers])


def vector(keras):
  layers = keras.layers
  return layers.Conv2D(WIDTH, 3), layers.GlobalAveragePooling2D()


def dense(keras, activation=None):
  return keras.layers.Dense(CLASSES, activation=activation, name='head')


def inner_without_head(keras):
  return sequence(keras, *vector(keras))


def sum_of_two(keras):
  images = keras.layers.Input((SIZE, SIZE, 3))
  features = inner_without_head(keras)(images)
  parts = [keras.layers.Dense(WIDTH)(features) for _ in range(2)]
  return keras.Model(images, keras.layers.add(parts))


# What comes after a vector of features, and whether there are logits.
ENDINGS = {
  'dense': (lambda k: [dense(k)], True),
  'dense with a softmax': (lambda k: [dense(k, 'softmax')], True),
  'dense with a sigmoid': (lambda k: [dense(k, 'sigmoid')], False),
  'softmax': (lambda k: [dense(k), k.layers.Softmax()], True),
  'activation softmax': (
    lambda k: [dense(k), k.layers.Activation('softmax')],
    True,
  ),
  'activation sigmoid': (
    lambda k: [dense(k), k.layers.Activation('sigmoid')],
    False,
  ),
  'activation linear': (
    lambda k: [dense(k), k.layers.Activation('linear')],
    True,
  ),
  'shapes around': (
    lambda k: [k.layers.Dropout(0.5), dense(k), k.layers.Identity()],
    True,
  ),
}


@pytest.mark.parametrize('ending', ENDINGS)
def test_the_classifier_is_found_behind_what_follows_it(ending, keras):
  make, has_logits = ENDINGS[ending]
  model = sequence(keras, *vector(keras), *make(keras))
  ends = keras_networks.find_ends(keras, model)
  assert tuple(ends.features.shape) == (None, WIDTH)
  assert (ends.logits is not None) == has_logits
  if has_logits:
    both = keras.Model(model.inputs[0], list(ends))
    features, logits = map(np.asarray, both(IMAGES, training=False))
    kernel, bias = map(np.asarray, model.get_layer('head').get_weights())
    np.testing.assert_allclose(logits, features @ kernel + bias, atol=1e-6)


# Without a classifier, the features are the output.
HEADLESS = {
  'vector': lambda k: sequence(k, *vector(k)),
  'relu': lambda k: sequence(
    k, *vector(k), k.layers.Dense(WIDTH, activation='relu')
  ),
  'inner': lambda k: sequence(k, inner_without_head(k)),
  'sum': sum_of_two,
}


@pytest.mark.parametrize('kind', HEADLESS)
def test_without_a_classifier_the_output_is_the_features(kind, keras):
  model = HEADLESS[kind](keras)
  ends = keras_networks.find_ends(keras, model)
  assert ends.features is model.outputs[0]
  assert ends.logits is None


def test_a_classifier_may_be_a_convolution(keras):
  layers = keras.layers
  pooled = layers.Conv2D(WIDTH, 3), layers.GlobalAveragePooling2D(keepdims=True)
  head = layers.Conv2D(CLASSES, 1, activation='softmax')
  ends = keras_networks.find_ends(keras, sequence(keras, *pooled, head))
  assert tuple(ends.features.shape) == (None, WIDTH)
  assert ends.logits is None  # They are no vector.
  # Of 3×3, it is none, but for a softmax.
  model = sequence(keras, layers.Conv2D(WIDTH, 3), layers.Conv2D(CLASSES, 3))
  with pytest.raises(ValueError, match='end it with GlobalAveragePooling2D'):
    keras_networks.find_ends(keras, model)


def test_a_convolution_that_is_pooled_for_a_softmax_is_a_classifier(keras):
  layers = keras.layers
  model = sequence(
    keras,
    layers.Conv2D(WIDTH, 3),
    layers.Conv2D(CLASSES, 3, padding='same'),
    layers.GlobalAveragePooling2D(),
    layers.Activation('softmax'),
  )
  ends = keras_networks.find_ends(keras, model)
  assert tuple(ends.features.shape) == (None, WIDTH)
  assert ends.logits is model.layers[-1].input


def test_the_head_of_an_inner_model_is_found(keras):
  inner = sequence(keras, *vector(keras), dense(keras, 'softmax'))
  ends = keras_networks.find_ends(keras, sequence(keras, inner))
  assert tuple(ends.features.shape) == (None, WIDTH)
  assert tuple(ends.logits.shape) == (None, CLASSES)


def _branched(keras):
  layers, images = keras.layers, keras.layers.Input((SIZE, SIZE, 3))
  both = layers.add([layers.Rescaling(1 / 255)(images), images])
  return keras.Model(images, layers.GlobalAveragePooling2D()(both))


PIXELS = {
  'rescaled': (lambda k: [k.layers.Rescaling(1 / 127.5, -1)], True),
  'normalised': (
    lambda k: [k.layers.Normalization(mean=[120] * 3, variance=[4e3] * 3)],
    True,
  ),
  'flipped before': (
    lambda k: [k.layers.RandomFlip(), k.layers.Rescaling(1 / 255)],
    True,
  ),
  'too large': (lambda k: [k.layers.Rescaling(1.0)], False),
  'nothing left': (lambda k: [k.layers.Rescaling(0.0)], False),
  'none': (lambda k: [], False),
  'late': (lambda k: [k.layers.ReLU(), k.layers.Rescaling(1 / 255)], False),
}


def test_a_network_of_grey_images_may_scale_them(keras):
  layers = keras.layers.Rescaling(1 / 255), *vector(keras)
  grey = keras.Sequential([keras.layers.Input((SIZE, SIZE, 1)), *layers])
  assert keras_networks.takes_pixels(grey)


@pytest.mark.parametrize('kind', PIXELS)
def test_layers_that_scale_pixels_are_preprocessing(kind, keras):
  make, expected = PIXELS[kind]
  model = sequence(keras, *make(keras), *vector(keras))
  assert keras_networks.takes_pixels(model) is expected
  # Within another model, too.
  assert keras_networks.takes_pixels(sequence(keras, model)) is expected


def test_pixels_that_are_also_used_as_they_are_are_no_preprocessing(keras):
  assert keras_networks.takes_pixels(_branched(keras)) is False


@pytest.mark.parametrize(
  ('options', 'is_fast'),
  [
    ({'padding': 'same'}, True),
    ({'strides': 2, 'activation': 'relu'}, True),
    ({'use_bias': False}, True),
    ({'dilation_rate': 2}, False),
    ({'strides': (1, 1), 'data_format': 'channels_first'}, False),
  ],
)
@pytest.mark.parametrize('kind', ['DepthwiseConv2D', 'SeparableConv2D'])
def test_depthwise_layers_give_the_same_when_fast(
  kind, options, is_fast, keras
):
  size = 1 if options.get('data_format') == 'channels_first' else 3
  features = {'filters': 5} if kind == 'SeparableConv2D' else {}
  layer = getattr(keras.layers, kind)(
    kernel_size=size, depth_multiplier=2, **features, **options
  )
  model = sequence(keras, layer)
  before, call = np.asarray(model(IMAGES)), layer.call
  keras_networks.make_fast(model)
  assert (layer.call != call) == is_fast
  np.testing.assert_allclose(np.asarray(model(IMAGES)), before, atol=1e-6)
