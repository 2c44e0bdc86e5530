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
_DISTRIBUTED = flags.DEFINE_bool(
  'distributed',
  False,
  'Join the other processes of a TPU pod or cluster: start the same command '
  'on every host. The first one writes.',
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


def _refuse(message: object) -> int:
  logging.debug('Bad input', exc_info=True)
  print(f'rank: {message}', file=sys.stderr)
  return _BAD_INPUT


def main(argv: list[str]) -> int:
  del argv
  if _DISTRIBUTED.value:
    jax.distributed.initialize()
  if _COMPILATION_CACHE.value:
    cache = platformdirs.user_cache_path('neucrab_jax') / 'compiled'
    jax.config.update('jax_compilation_cache_dir', str(cache))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
  try:
    result = ranking.rank(
      _CONFIG.value, workdir=_WORKDIR.value or _default_workdir()
    )
  except (ValueError, OSError, RuntimeError) as error:
    return _refuse(error)
  except ranking.Interrupted:
    return _INTERRUPTED
  return _FAILED if result['failed'] else 0


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; what is wrong with them is one line, not a traceback."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    # An error inside a config file comes as the text of its traceback.
    sys.exit(_refuse(str(error).strip().splitlines()[-1].strip()))
  except (AttributeError, KeyError) as error:
    # ml_collections' hint for an unknown key, however deeply wrapped.
    while error.args and isinstance(error.args[0], Exception):
      error = error.args[0]
    hint = str(error.args[0]).replace('\n', '. ')
    sys.exit(_refuse(f'There is no setting {hint}'))


if __name__ == '__main__':
  logging.set_verbosity(logging.WARNING)
  app.run(main, flags_parser=_parse_flags)
