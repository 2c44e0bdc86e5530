# SPDX-License-Identifier: Apache-2.0
r"""Writes networks of other frameworks as ONNX files, to be ranked.

  python -m neucrab_jax.export --timm='resnet18,vit_tiny_*' --dir=models
  python -m neucrab_jax.export --torch=nets.py:make_mine --dir=models
  python -m neucrab_jax.export --keras=mine.keras --dir=models \
      --preprocessing='{"image_size": 224, "value_range": [-1, 1],
      "resize_method": "bilinear"}'

and then `--config.checkpoints='models/*.onnx'` ranks them. Each file has a free
batch, its features and logits, and how its images are prepared. Those of timm,
PyTorch and Keras are compared with the original on two images. NODE, behind a
file of TensorFlow, says what the features are where no classifier is found.
Needs `pip install '.[export]'`.

Exit status: 0 if all were written, 1 if some failed, 2 if the input was bad,
130 after Ctrl-C.
"""

from neucrab_jax import interruption

interruption.heed_from_start(__name__)

import functools
import json
import pathlib
import sys
from collections.abc import Callable

from absl import flags, logging

from neucrab_jax import command_help, command_line, storage
from neucrab_jax.checkpoints import exporters

_TIMM = flags.DEFINE_string('timm', '', 'Names and patterns, between commas.')
_WEIGHTS = flags.DEFINE_string(
  'weights', '', 'Of the one network of timm, as .safetensors.'
)
_TORCH = flags.DEFINE_string('torch', '', 'FILE:FUNCTION that gives a module.')
_KERAS = flags.DEFINE_string('keras', '', 'A .keras or .h5 file.')
_SAVED_MODEL = flags.DEFINE_string('saved_model', '', 'A folder[#NODE].')
_TFLITE = flags.DEFINE_string('tflite', '', 'A .tflite file[#NODE].')
_PREPROCESSING = flags.DEFINE_string(
  'preprocessing', '', 'JSON, for files of Keras and TensorFlow.'
)
_DIR = flags.DEFINE_string(
  # Of `download`, too, where a program uses both.
  'dir',
  'models',
  'Folder for the files.',
  allow_override=True,
)

_Job = Callable[[pathlib.Path], exporters.Exported]


def _say(message: str) -> None:
  print(f'export: {message}', file=sys.stderr)


def _jobs() -> dict[str, _Job]:
  """By the stem of its file, what writes each that is asked for.

  Raises:
    ValueError: if nothing is asked for, or the input is bad.
  """
  jobs: dict[str, _Job] = {}
  names = exporters.timm_names(_TIMM.value) if _TIMM.value else []
  if _WEIGHTS.value and len(names) != 1:
    raise ValueError(f'--weights are of one network, and not of {len(names)}.')
  for name in names:
    jobs[name] = functools.partial(
      exporters.from_timm, name, weights=_WEIGHTS.value
    )
  if _TORCH.value:
    name = _TORCH.value.rpartition(':')[2]
    jobs[name] = functools.partial(exporters.from_torch, _TORCH.value)
  others = {
    'keras': _KERAS.value,
    'saved_model': _SAVED_MODEL.value,
    'tflite': _TFLITE.value,
  }
  for kind, source in others.items():
    if not source:
      continue
    try:
      told = json.loads(_PREPROCESSING.value or '{}')
    except ValueError as error:
      raise ValueError(f'--preprocessing is no JSON: {error}.') from error
    prepared = exporters.to_preprocessing(told)
    make = (
      exporters.from_keras
      if kind == 'keras'
      else functools.partial(exporters.from_tensorflow, kind)
    )
    name = pathlib.Path(source.partition(exporters.CHOICE)[0]).stem
    jobs[name] = functools.partial(make, source, prepared=prepared)
  if not jobs:
    raise ValueError(
      'Nothing is to be exported. Give --timm, --torch, --keras, '
      '--saved_model or --tflite; --help says more.'
    )
  return jobs


def main(argv: list[str]) -> int:
  del argv
  # Those who export tell of each step they take.
  logging.set_verbosity(logging.WARNING)
  status = 0
  try:
    with interruption.handled():
      jobs = _jobs()
      storage.check_writable(_DIR.value)
      for name, make in jobs.items():
        path = pathlib.Path(_DIR.value).expanduser() / f'{name}.onnx'
        try:
          made = make(path)
        except Exception as error:  # Whatever a foreign library can provoke.
          _say(f'{name}: {type(error).__name__}: {error}')
          status = command_line.FAILED
          continue
        error = 'not compared with'
        if made.error is not None:
          error = f'{made.error:.1g} from'
        print(
          f'{made.path}: {made.feature_dim} features, {made.num_classes} '
          f'classes; {error} the original'
        )
        interruption.check()
  except (ValueError, OSError) as error:
    _say(str(error))
    return command_line.BAD_INPUT
  except KeyboardInterrupt:
    _say('interrupted; what is written stays.')
    return command_line.INTERRUPTED
  return status


def start() -> None:
  if command_help.is_asked(sys.argv):
    flagged = (
      _TIMM, _WEIGHTS, _TORCH, _KERAS, _SAVED_MODEL, _TFLITE, _PREPROCESSING,
      _DIR,
    )  # fmt: skip
    command_help.show(__doc__, names=[flag.name for flag in flagged])
    sys.exit(0)
  command_line.run_app(main, sys.argv)


if __name__ == '__main__':
  start()
