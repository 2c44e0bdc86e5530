# SPDX-License-Identifier: Apache-2.0
"""The JSON that says what a model of Keras is, made safe and cheap to build."""

from typing import Any

# Layers that hold code, open files of the machine, or need another framework.
_REFUSED = (
  'FlaxLayer',
  'HashedCrossing',
  'Hashing',
  'IntegerLookup',
  'JaxLayer',
  'Lambda',
  'StringLookup',
  'TFSMLayer',
  'TextVectorization',
  'TorchModuleWrapper',
  '__lambda__',
  '__typespec__',
)

# Of names of their precision.
_WIDENED = ('mixed_float16', 'mixed_bfloat16', 'float16', 'bfloat16')

_ZEROS = {'class_name': 'Zeros', 'config': {}}


def _check(found: dict[str, Any]) -> None:
  """Refuses an object that is code, or somebody's own.

  Raises:
    ValueError: if it is.
  """
  kind = found['class_name']
  inner = found.get('config')
  name = inner.get('name') if isinstance(inner, dict) else None
  name = name or found.get('name')
  called = f'{kind} {name!r}' if name else str(kind)
  if kind in _REFUSED:
    raise ValueError(
      f'its layer {called} is refused: it may run code, or read files. Build '
      'the model without it, and save it again'
    )
  module = found.get('module', 'keras')
  own = found.get('registered_name')
  if (module is None and own) or (
    isinstance(module, str)
    and module != 'builtins'
    and module.split('.')[0] != 'keras'
  ):
    raise ValueError(
      f'its {called} is no part of Keras, and code of others is not run. Build '
      'the model of layers of Keras'
    )


def prepare(found: Any) -> Any:
  """The config with cheap initialisers, in single precision.

  Weights are loaded anyway; to draw them first takes up to a minute.

  Raises:
    ValueError: if something in it is code, or somebody's own.
  """
  if isinstance(found, list):
    return [prepare(each) for each in found]
  if not isinstance(found, dict):
    return found
  if 'class_name' in found:
    _check(found)
  is_policy = str(found.get('class_name', '')).endswith('DTypePolicy')
  made = {}
  for key, value in found.items():
    if str(key).endswith('_initializer') and value:
      made[key] = _ZEROS
    elif key in ('compile_config', 'training_config'):
      continue
    elif key == 'dtype' and value in _WIDENED:
      made[key] = 'float32'
    elif is_policy and key == 'config' and isinstance(value, dict):
      made[key] = {
        k: 'float32' if k == 'name' and v in _WIDENED else v
        for k, v in value.items()
      }
    else:
      made[key] = prepare(value)
  return made
