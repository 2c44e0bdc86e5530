# SPDX-License-Identifier: Apache-2.0
"""The settings that all rankings share, with their defaults.

The pages of `configs/` start from these, and say what they change.
"""

from typing import Any

import ml_collections
from ml_collections import config_dict

from neucrab_jax import measures
from neucrab_jax.typing import Config


def resampling() -> Config:
  """How sure the order is."""
  config = ml_collections.ConfigDict()
  # Of the examples, each scored again, for how sure the order is; 0 to go by
  # each example's influence on the scores.
  config.num_resamples = 0
  config.seed = 0  # Of the resamples, and what is random in a measure.
  config.num_threads = 0  # Scores at once; 0 for one on each core, up to 8.
  # What to show beside the ranking of how checkpoints did on other tasks:
  # 'published', or accuracies as `evaluate` takes them; empty for nothing.
  config.known = ''
  config.race = ml_collections.ConfigDict()
  # Only who may be among so many best is run on more and more of the examples,
  # until those are known; 0 to run all checkpoints on all examples.
  config.race.top = 0
  config.race.confidence = 0.95  # That none of them is dropped.
  config.race.seed = 0  # Of the order of the examples.
  return config


def checkpoints_on_a_task() -> Config:
  """Which checkpoints, on which examples, and how sure the order is."""
  config = resampling()
  config.task = ml_collections.ConfigDict()
  # digits, a data set of TFDS, a folder with one sub-folder a class, or an
  # .npz of images and labels.
  config.task.name = 'digits'
  config.task.split = 'train'  # Or a part of it, such as train[:80%].
  config.task.data_dir = ''  # Of TFDS; empty for its own default.
  config.task.num_examples = 0  # A stratified sample of so many; 0 for all.
  config.task.sample_seed = 0  # Of that sample.
  # Of image folders: at which depth the classes are, 1 for the sub-folders.
  config.task.class_depth = 1
  config.task.skip_damaged = False  # Leave damaged images out, and count them.
  config.task.max_megapixels = 200.0  # Of an image; a larger one is damaged.

  # Groups, names, files such as 'models/*.onnx', repositories of the hub as
  # 'hf:timm/resnet50.a1_in1k', and weights of your own as
  # 'inception_v1=/ckpts/model.ckpt-90000', separated by commas.
  config.checkpoints = 'mini_1,control'
  config.checkpoint_dir = ''  # Of weights that are not bundled.
  # Of the paper's groups: vtab (the whole image at 224 px) or own.
  config.preprocessing = 'vtab'
  # Of TF1's checkpoints: raw, or averages for the exponential moving averages
  # that some hold beside them.
  config.weights = 'raw'
  # That networks run in: float32, or bfloat16, which is faster on GPU and TPU.
  config.dtype = 'float32'
  config.batch_size = 128  # Over all local devices.
  config.cache_dir = ''  # Of features; empty for the user's cache folder.
  # That images there may take which are decoded once for all checkpoints; 0 to
  # decode them for each.
  config.decoded_gigabytes = 10.0
  return config


def _options(name: str) -> dict[str, Any]:
  """A measure's options, for a page of settings.

  Those that the measure sets itself, if they are not given, are whole numbers.
  """
  return {
    option: config_dict.placeholder(int) if value is None else value
    for option, value in measures.default_options(name).items()
  }


def measure(name: str) -> Config:
  """One measure, with all its options."""
  config = ml_collections.ConfigDict()
  config.name = name  # One of measures.names().
  config.options = _options(name)
  return config


def several_measures(names: tuple[str, ...]) -> Config:
  """Measures side by side, with all options of all that there are.

  Args:
    names: of those that are asked for.
  """
  config = ml_collections.ConfigDict()
  config.measures = ','.join(names)  # Names, separated by commas.
  config.options = ml_collections.ConfigDict()
  for name in measures.names():
    config.options[name] = _options(name)
  return config
