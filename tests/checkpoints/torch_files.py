# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in PyTorch's layout, with weights that are functions of a name.

`testdata/parity_torch` has, of a network, the names and shapes of the variables
and the config, and what timm or transformers made of such weights and inputs.
"""

import hashlib
import json
import pathlib
from typing import Any

import numpy as np
from safetensors import numpy as safetensors

FOLDER = pathlib.Path(__file__).parents[1] / 'testdata' / 'parity_torch'

# For configs of transformers, which don't say how images are prepared.
PREPROCESSOR = {
  'image_mean': [0.5, 0.5, 0.5],
  'image_std': [0.25, 0.25, 0.25],
  'size': {'height': 224, 'width': 224},
  'resample': 2,
}


def manifest(name: str) -> dict[str, Any]:
  return json.loads((FOLDER / f'{name}.json').read_text())


def _rng(name: str) -> np.random.Generator:
  digest = hashlib.sha256(f'open:{name}'.encode()).digest()
  seed = int.from_bytes(digest[:8], 'little')
  return np.random.Generator(np.random.PCG64(seed))


def draw(name: str, shape: tuple[int, ...], gain: float = 1.0) -> np.ndarray:
  """A variable, as large as its kind is in trained networks."""
  rng, leaf = _rng(name), name.rsplit('.', 1)[-1]
  is_scale = leaf == 'running_var' or (leaf == 'weight' and len(shape) == 1)
  is_position = 'embeddings.position' in name or 'position_embedding' in name
  if leaf == 'num_batches_tracked':
    return np.zeros(shape, np.int64)
  if is_scale:
    drawn = rng.random(shape, dtype=np.float32) + np.float32(0.5)
  elif leaf in ('gamma', 'lambda1') or 'layer_scale' in leaf:
    drawn = rng.random(shape, dtype=np.float32) * np.float32(0.5)
  elif (leaf == 'weight' and not is_position) or leaf == 'in_proj_weight':
    scale = np.sqrt((1 + (len(shape) == 4)) / np.prod(shape[1:]))
    drawn = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
  else:
    drawn = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.1)
  return np.ascontiguousarray(drawn * np.float32(gain), np.float32)


def variables(name: str) -> dict[str, np.ndarray]:
  """All that a checkpoint has."""
  drawn = {}
  for variable, told in manifest(name)['variables'].items():
    shape, gain = told if told and isinstance(told[0], list) else (told, 1.0)
    drawn[variable] = draw(variable, tuple(shape), gain)
  return drawn


def images(size: int) -> np.ndarray:
  """[2, size, size, 3], as if normalised."""
  drawn = _rng(f'input{size}').random((2, 3, size, size), dtype=np.float32)
  return drawn.transpose(0, 2, 3, 1) * np.float32(4) - np.float32(2)


def write(
  folder: pathlib.Path,
  name: str = '',
  *,
  config: dict[str, Any] | None = None,
  stored: dict[str, np.ndarray] | None = None,
  preprocessor: dict[str, Any] | None = None,
) -> pathlib.Path:
  """Writes a checkpoint as a repository of the hub has it."""
  folder.mkdir(parents=True, exist_ok=True)
  config = manifest(name)['config'] if config is None else config
  if 'model_type' in config and preprocessor is None:
    preprocessor = PREPROCESSOR
  safetensors.save_file(
    variables(name) if stored is None else stored,
    folder / 'model.safetensors',
    metadata={'format': 'pt'},
  )
  (folder / 'config.json').write_text(json.dumps(config))
  if preprocessor:
    path = folder / 'preprocessor_config.json'
    path.write_text(json.dumps(preprocessor))
  return folder
