# SPDX-License-Identifier: Apache-2.0
"""The settings of fine-tuning, with their defaults for each protocol.

The pages of `configs/` start from these, and say what they change.
"""

import ml_collections

from neucrab_jax.typing import Config


def _mini() -> dict:
  return {
    'learning_rates': (0.1, 0.05, 0.01, 0.005),
    'steps': (300,),
    'batch_size': 64,
    'warmup_steps': 0,
  }


def _vtab() -> dict:
  return {
    'learning_rates': (0.1, 0.01),
    'steps': (2_500, 10_000),
    'batch_size': 512,
    'warmup_steps': 0,
  }


def _vtab_1k() -> dict:
  return {
    'learning_rates': (0.01,),
    'steps': (1_000,),
    'batch_size': 64,
    'warmup_steps': 80,
  }


def _neucrab_mini() -> dict:
  return {
    'learning_rates': (0.1, 0.01),
    'steps': (100,),
    'batch_size': 64,
    'warmup_steps': 0,
    'seeds': (0, 1),
    # Some of the networks have a longer memory than these runs.
    'batch_norm_decay': 0.9,
    'curve_points': 2,
  }


_NINE = (
  'mini_vae,mini_jigsaw,mini_exemplar,mini_rotation,mini_semi_rotation_10,'
  'mini_sup_glyphs,mini_sup_exemplar,mini_sup_textures,mini_random'
)

# Protocol, checkpoints, training examples (0 for all), and their split.
_VARIANTS = {
  'mini': (_mini, _NINE, 200, 'train', 'validation'),
  'neucrab_mini': (
    _neucrab_mini,
    'mini_1,mini_2,mini_3,control',
    200,
    'train',
    'validation',
  ),
  'vtab': (_vtab, 'mini_1', 0, 'train', 'validation'),
  'vtab_1k': (_vtab_1k, 'mini_1', 0, 'train800', 'val200'),
}


def protocol(variant: str) -> Config:
  """A protocol, and on which checkpoints and examples it is run by default.

  Args:
    variant: one of 'mini', 'neucrab_mini', 'vtab' and 'vtab_1k'.

  Raises:
    ValueError: if it is none of them.
  """
  if variant not in _VARIANTS:
    raise ValueError(
      f'Unknown protocol {variant!r}. Known: {", ".join(_VARIANTS)}.'
    )
  make, chosen, num_examples, train, validation = _VARIANTS[variant]
  config = ml_collections.ConfigDict()

  config.task = ml_collections.ConfigDict()
  # digits, a data set of TFDS, a folder with one sub-folder a class, or an
  # .npz of images and labels.
  config.task.name = 'digits'
  config.task.train = train  # A split, or a part of it, as train[:80%].
  # Empty, as where there is no such split, to hold out a fifth of the training
  # examples.
  config.task.validation = validation
  config.task.test = 'test'  # Read once, for the trial that validation chose.
  config.task.data_dir = ''  # Of TFDS; empty for its own default.
  # A stratified sample of so many; 0 for all. Where validation is held out, it
  # is a fifth of these: of 100, training has 80.
  config.task.num_examples = num_examples
  config.task.sample_seed = 0  # Of that sample, and of what is held out.
  # Of image folders: at which depth the classes are, 1 for the sub-folders.
  config.task.class_depth = 1
  config.task.skip_damaged = False  # Leave damaged images out, and count them.
  config.task.max_megapixels = 200.0  # Of an image; a larger one is damaged.

  # Groups, names, files such as 'models/*.onnx', repositories of the hub as
  # 'hf:timm/resnet50.a1_in1k', and weights of your own as
  # 'inception_v1=/ckpts/model.ckpt-90000', separated by commas.
  config.checkpoints = chosen
  config.checkpoint_dir = ''  # Of weights that are not bundled.
  # Of the paper's groups: vtab (the whole image at 224 px) or own.
  config.preprocessing = 'vtab'
  # Of TF1's checkpoints: raw, or averages for the exponential moving averages
  # that some hold beside them.
  config.weights = 'raw'

  config.protocol = ml_collections.ConfigDict()
  config.protocol.mode = 'full'  # Or head: a linear classifier on features.
  config.protocol.seeds = (0,)  # Each has a sweep of its own.
  config.protocol.momentum = 0.9
  config.protocol.weight_decay = 0.0
  config.protocol.drops = (0.3, 0.6, 0.9)  # By ten, as shares of the steps.
  config.protocol.augmentation = 'none'  # Or flip, crop_and_flip.
  # Of BatchNorm's moving averages; 0 for the network's own.
  config.protocol.batch_norm_decay = 0.0
  config.protocol.curve_points = 10
  for name, value in make().items():
    config.protocol[name] = value

  config.save_steps = 100  # What a kill may lose.
  config.together = 0  # Trials in one program; 0 for what is fastest and fits.
  config.tensorboard = False  # Curves for TensorBoard, which needs TensorFlow.
  config.cache_dir = ''  # Of features; empty for the user's cache folder.
  return config
