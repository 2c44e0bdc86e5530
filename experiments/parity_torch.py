# SPDX-License-Identifier: Apache-2.0
"""How near native networks come to PyTorch's own outputs.

    python -m experiments.parity_torch FOLDER [--only=resnet,hf_vit]

FOLDER has `make_weights.py`, `manifests/ARCH.json` and `open/ARCH.npz`: names
and shapes of a checkpoint's variables, and what the library that it is of makes
of generated weights and inputs. Each checkpoint is written, restored as any
other, and run; a row is the relative L2 error of its features at each size and
of its logits, with the seconds that restoring and the first image took. One
above 2e-5 is marked, and makes the command fail.
"""

import argparse
import importlib.util
import json
import pathlib
import sys
import tempfile
import time
from typing import Any

import numpy as np

# Relative L2, of which another order of sums makes a tenth.
_MOST = 2e-5

_ROW = '{:38} {:>32} {:>9} {:>9} {:>7} {:>7}  {}'


def _load(folder: pathlib.Path) -> Any:
  specification = importlib.util.spec_from_file_location(
    'make_weights', folder / 'make_weights.py'
  )
  assert specification is not None
  assert specification.loader is not None
  module = importlib.util.module_from_spec(specification)
  specification.loader.exec_module(module)
  return module


def error(found: Any, wanted: np.ndarray) -> float:
  """Relative L2."""
  found = np.asarray(found, np.float64)
  return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def preprocessor(size: int) -> dict[str, Any]:
  """For configs of transformers, which don't say how images are prepared."""
  return {
    'image_mean': [0.5, 0.5, 0.5],
    'image_std': [0.5, 0.5, 0.5],
    'size': {'height': size, 'width': size},
    'resample': 2,
  }


def compare(
  folder: pathlib.Path, architecture: str, suite: str = 'open'
) -> dict[str, Any]:
  """Errors and seconds of one."""
  import jax

  from neucrab_jax import checkpoints

  make_weights = _load(folder)
  manifest = json.loads(
    (folder / 'manifests' / f'{architecture}.json').read_text()
  )
  wanted = np.load(folder / suite / f'{architecture}.npz')
  sizes = manifest['sizes']
  with tempfile.TemporaryDirectory() as written:
    make_weights.write(manifest, suite, written)
    if 'model_type' in manifest['config']:
      path = pathlib.Path(written) / 'preprocessor_config.json'
      path.write_text(json.dumps(preprocessor(sizes[0])))
    start = time.perf_counter()
    backbone = checkpoints.restore(written)
    restored = time.perf_counter()
  errors: dict[str, float] = {}
  seconds = []
  for size in sizes:
    images = make_weights.inputs(suite, size).transpose(0, 2, 3, 1)
    began = time.perf_counter()
    outputs = jax.block_until_ready(backbone(images))
    seconds.append(time.perf_counter() - began)
    for kind in ('features', 'logits'):
      name, made = f'{kind}_{size}', getattr(outputs, kind)
      # Without a head, theirs are the features.
      if name in wanted:
        made = outputs.features if made is None else made
        errors[name] = error(made, wanted[name])
  return {
    'errors': errors,
    'restore': restored - start,
    'first': seconds[0],
    'skipped': len(backbone.skipped),
  }


def main(arguments: list[str] | None = None) -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('folder', type=pathlib.Path)
  parser.add_argument('--only', default='', help='prefixes of architectures')
  parser.add_argument('--suite', default='open')
  given = parser.parse_args(arguments)
  only = tuple(prefix for prefix in given.only.split(',') if prefix)
  print(
    _ROW.format('architecture', 'features', 'logits', 'skipped', 'restore',
                'first', ''),
    flush=True,
  )  # fmt: skip
  failed = 0
  for file in sorted((given.folder / 'manifests').glob('*.json')):
    if only and not file.stem.startswith(only):
      continue
    try:
      found = compare(given.folder, file.stem, given.suite)
    except (ValueError, OSError) as problem:
      print(_ROW.format(file.stem, '', '', '', '', '', f'FAILED: {problem}'))
      failed += 1
      continue
    errors = found['errors']
    is_bad = not max(errors.values()) <= _MOST
    failed += is_bad
    features = [f'{v:.1e} ({k.split("_")[1]})' for k, v in errors.items()
                if k.startswith('features')]  # fmt: skip
    logits = [f'{v:.1e}' for k, v in errors.items() if k.startswith('logits')]
    print(
      _ROW.format(
        file.stem,
        ', '.join(features),
        ', '.join(logits),
        found['skipped'],
        f'{found["restore"]:.1f} s',
        f'{found["first"]:.1f} s',
        'TOO FAR' if is_bad else '',
      ),
      flush=True,
    )
  return int(failed > 0)


if __name__ == '__main__':
  sys.exit(main())
