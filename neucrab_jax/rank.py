# SPDX-License-Identifier: Apache-2.0
r"""Ranks checkpoints by how well they will transfer to a task.

  python -m neucrab_jax.rank --config=configs/nleep.py
  python -m neucrab_jax.rank --config=configs/measure.py:knn \
      --config.task.name=path/to/images --workdir=runs/mine

Exit status: 0 if all checkpoints were ranked, 1 if some failed, 2 if the input
was bad, 130 after Ctrl-C.
"""

import pathlib
import sys

import jax
import platformdirs
from absl import app, flags, logging
from ml_collections import config_flags

from neucrab_jax.benchmark import ranking

_CONFIG = config_flags.DEFINE_config_file('config', help_string='What to run.')
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder for the results; default: runs/<config name>.'
)
_COMPILATION_CACHE = flags.DEFINE_bool(
  'compilation_cache', True, 'Whether to keep compiled programs between runs.'
)
flags.mark_flag_as_required('config')

_FAILED, _BAD_INPUT, _INTERRUPTED = 1, 2, 130


def _default_workdir() -> str:
  """configs/measure.py:knn gives runs/measure-knn."""
  file, _, argument = config_flags.get_config_filename(
    flags.FLAGS['config']
  ).partition(':')
  stem = pathlib.Path(file).stem
  return str(pathlib.Path('runs') / '-'.join(filter(None, (stem, argument))))


def _refuse(error: Exception) -> int:
  logging.debug('Bad input', exc_info=True)
  # A KeyError's text is its key's repr; ml_collections puts prose there.
  message = error.args[0] if isinstance(error, KeyError) else error
  print(f'rank: {message}', file=sys.stderr)
  return _BAD_INPUT


def main(argv: list[str]) -> int:
  del argv
  if _COMPILATION_CACHE.value:
    cache = platformdirs.user_cache_path('neucrab_jax') / 'compiled'
    jax.config.update('jax_compilation_cache_dir', str(cache))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  try:
    result = ranking.rank(
      _CONFIG.value, workdir=_WORKDIR.value or _default_workdir()
    )
  except ValueError as error:
    return _refuse(error)
  except ranking.Interrupted:
    return _INTERRUPTED
  return _FAILED if result['failed'] else 0


def _parse_flags(argv: list[str]) -> list[str]:
  try:
    return app.parse_flags_with_usage(argv)
  except (AttributeError, KeyError, ValueError) as error:
    sys.exit(_refuse(error))


if __name__ == '__main__':
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=_parse_flags)
