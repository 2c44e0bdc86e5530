# SPDX-License-Identifier: Apache-2.0
"""What the commands share: flags, the compilation cache, exit statuses.

def main(config, workdir) -> int: ...

def start() -> None:
  command_line.start(main, config='nleep.py')

flags.adopt_module_key_flags(command_line)
if __name__ == '__main__':
  start()
"""

import contextlib
import gc
import os
import pathlib
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import platformdirs
from absl import app, flags, logging
from ml_collections import config_flags

from neucrab_jax import cluster, command_help, interruption
from neucrab_jax.typing import Config

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

_CLUSTER = flags.DEFINE_string(
  'cluster',
  '',
  'Ray cluster to run on, each checkpoint a piece of work: local, auto for '
  'that of this machine, or ray://HOST:10001.',
)
_CLUSTER_GPUS = flags.DEFINE_float(
  'cluster_gpus', 0.0, 'GPUs of each piece of work, with --cluster.'
)
_CLUSTER_RESOURCES = flags.DEFINE_string(
  'cluster_resources',
  '',
  'Other resources of each piece of work, with --cluster, such as TPU:4.',
)

# Exit statuses beside 0: something failed, the input was bad, Ctrl-C.
FAILED, BAD_INPUT, INTERRUPTED = 1, 2, interruption.STATUS

# Characters of a refusal, and of a word in it: a list of twenty files may be in
# it, a whole file not.
_LONGEST_LINE, _LONGEST_WORD = 4000, 1000


_SHOW_WARNING = warnings.showwarning
_PACKAGE = pathlib.Path(__file__).parent
# Where the pages of `configs/` are: in a wheel, and in the repository.
_CONFIG_FOLDERS = (_PACKAGE / 'configs', _PACKAGE.parent / 'configs')


def _find_config(given: str) -> str:
  """The path of a config: as given, or of the page of that name.

  So `configs/nleep.py` and `nleep.py` mean the page that comes with this
  package, wherever the command is started.

  Args:
    given: a path, and maybe an argument after a colon.

  Raises:
    FileNotFoundError: if there is neither.
  """
  file, colon, argument = given.partition(':')
  if not pathlib.Path(file).exists():
    for folder in _CONFIG_FOLDERS:
      page = folder / pathlib.Path(file).name
      if page.is_file():
        return f'{page}{colon}{argument}'
    pages = {
      page.name for folder in _CONFIG_FOLDERS for page in folder.glob('*.py')
    }
    raise FileNotFoundError(
      f'There is no config {file!r}. Give a file, or one of those that come '
      f'with neucrab_jax: {", ".join(sorted(pages))}.'
    )
  return given


def _with_config(argv: list[str], default: str) -> tuple[list[str], str]:
  """The arguments with the path of a config that can be read, and the path."""
  argv, found = list(argv), ''
  for index, argument in enumerate(argv[1:], start=1):
    name, equals, value = argument.partition('=')
    if name not in ('--config', '-config'):
      continue
    if equals:
      found = _find_config(value)
      argv[index] = f'{name}={found}'
    elif index + 1 < len(argv):
      argv[index + 1] = found = _find_config(argv[index + 1])
  if found:
    return argv, found
  found = _find_config(default)
  return [*argv[:1], f'--config={found}', *argv[1:]], found


def _default_workdir() -> str:
  """configs/measure.py:knn gives runs/measure-knn."""
  file, _, argument = config_flags.get_config_filename(
    flags.FLAGS['config']
  ).partition(':')
  stem = pathlib.Path(file).stem
  return str(pathlib.Path('runs') / '-'.join(filter(None, (stem, argument))))


def _refuse(message: object) -> int:
  logging.debug('Bad input', exc_info=True)
  # Values that were given are in it, of any length and with any line ends.
  line = ' '.join(
    f'{word[:_LONGEST_WORD]}…' if len(word) > _LONGEST_WORD else word
    for word in str(message).split()
  )
  if len(line) > _LONGEST_LINE:
    line = f'{line[:_LONGEST_LINE]}…'
  # `python -m neucrab_jax.rank` has rank.py in its place.
  print(f'{pathlib.Path(sys.argv[0]).stem}: {line}', file=sys.stderr)
  return BAD_INPUT


def _explain_flag(error: flags.Error) -> str:
  """What to say of a flag that is unknown, or cannot have its value."""
  # An error inside a config file comes as the text of its traceback.
  message = str(error).strip().splitlines()[-1].strip()
  if isinstance(error, flags.UnrecognizedFlagError):
    return f'{message}. Settings begin with --config., as --help lists them.'
  setting, _, rest = message.partition(': Failed to parse ')
  if rest.partition(' as a ')[2].startswith('ConfigDict'):
    name = setting.removeprefix('flag ').partition('=')[0]
    return f'{name} has settings below it, and no value. --help lists them.'
  return message


def _parse_flags(argv: list[str]) -> list[str]:
  """Parses the flags; what is wrong with them is one line, not a traceback."""
  try:
    return flags.FLAGS(argv)
  except flags.Error as error:
    sys.exit(_refuse(_explain_flag(error)))
  except (AttributeError, KeyError) as error:
    # ml_collections' hint for an unknown key, however deeply wrapped.
    while error.args and isinstance(error.args[0], Exception):
      error = error.args[0]
    hint = str(error.args[0]).replace('\n', '. ')
    sys.exit(_refuse(f'There is no setting {hint}'))
  except TypeError:
    given = [a.split('=')[0] for a in argv if a.startswith('--config.')]
    sys.exit(
      _refuse(
        f'There is no setting {" or ".join(given)}: what is before its last '
        'dot is a value, with nothing below it.'
      )
    )
  except Exception as error:  # Whatever the code of a config file provokes.
    problem = f'{type(error).__name__}: {error}'
    sys.exit(_refuse(f'The config or a flag cannot be read: {problem}'))


def _explain_left_over(word: str) -> str:
  """What to say of a word that no flag takes."""
  if '=' in word:
    # What editors make of two hyphens, too.
    return f'{word!r} begins with no dashes. Write --{word.lstrip("-–—")}'
  if word.partition(':')[0].endswith('.py'):
    return f'{word!r} is left over: no setting takes it. Write --config={word}'
  return (
    f'{word!r} is left over: no setting takes it. A pattern, or a list with '
    "blanks, needs quotes: --config.features='DIR/*.npz', "
    "--config.checkpoints='mini_vae, mini_random'."
  )


_FLAGS = (
  _CONFIG,
  _WORKDIR,
  _COMPILATION_CACHE,
  _DISTRIBUTED,
  _CLUSTER,
  _CLUSTER_GPUS,
  _CLUSTER_RESOURCES,
)


def _connected() -> contextlib.AbstractContextManager:
  """The cluster that is asked for.

  Raises:
    ValueError: if there is none.
  """
  if not _CLUSTER.value:
    return contextlib.nullcontext()
  if _DISTRIBUTED.value:
    raise ValueError(
      '--cluster gives each process a checkpoint, --distributed all of them '
      'one: give one of the two.'
    )
  return cluster.connected(
    _CLUSTER.value,
    gpus=_CLUSTER_GPUS.value,
    resources=_CLUSTER_RESOURCES.value,
  )


def run_app(main: Callable[[list[str]], int], argv: list[str]) -> None:
  """Parses the flags, calls a function with what is left over, and exits.

  Args:
    main: gives the exit status. Ctrl-C during it, or before it, is one too.
    argv: arguments of the command.
  """

  def run(argv: list[str]) -> int:
    if not gc.isenabled():
      gc.freeze()  # What was imported stays.
      gc.enable()
    if argv[1:]:
      return _refuse(_explain_left_over(argv[1]))
    return main(argv)

  try:
    app.run(run, argv=argv, flags_parser=_parse_flags)
  except KeyboardInterrupt:
    sys.exit(INTERRUPTED)


def _show_warning(
  message: Warning | str, category: type[Warning], *where: Any, **options: Any
) -> None:
  """Shows a warning of our own as a line; others are for who debugs."""
  if category.__module__.partition('.')[0] == __name__.partition('.')[0]:
    print(f'warning: {message}', file=sys.stderr)
  elif logging.level_debug():
    _SHOW_WARNING(message, category, *where, **options)


def _refuse_run(error: object, folders: Sequence[pathlib.Path]) -> int:
  """Says what was bad, and removes folders of the run if they are empty."""
  for folder in folders:
    with contextlib.suppress(OSError):
      folder.rmdir()
  return _refuse(error)


def start(
  main: Callable[[Config, str], int],
  *,
  config: str,
  own: Sequence[flags.FlagHolder] = (),
) -> None:
  """Parses the flags, runs a command and exits with its status.

  With --help it prints the docstring of the command's module, and all settings.

  Args:
    main: takes the config and the folder for the results, and gives the exit
      status. A `ValueError`, `OSError` or `RuntimeError` from it is bad input;
      `interruption.Interrupted` is Ctrl-C.
    config: the page of `configs/` that is run where none is given.
    own: flags of this command alone.
  """

  # Before TensorFlow imports Keras, which has one backend in a process.
  os.environ.setdefault('KERAS_BACKEND', 'jax')

  def run(argv: list[str]) -> int:
    del argv
    if _DISTRIBUTED.value:
      try:
        jax.distributed.initialize()
      except (ValueError, RuntimeError) as error:
        return _refuse(
          f'--distributed found no cluster to join: {error} Without the flag, '
          'all devices of this machine are used.'
        )
    if _COMPILATION_CACHE.value:
      cache = platformdirs.user_cache_path('neucrab_jax') / 'compiled'
      jax.config.update('jax_compilation_cache_dir', str(cache))
      jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
    workdir = _WORKDIR.value or _default_workdir()
    folder = pathlib.Path(workdir).expanduser()
    # Not by pathlib, which raises where a folder may not be looked into.
    parts = (folder, *folder.parents)
    made = [part for part in parts if not os.path.exists(part)]
    try:
      with interruption.handled(), warnings.catch_warnings():
        warnings.showwarning = _show_warning
        with _connected():
          return main(_CONFIG.value, workdir)
    except (KeyboardInterrupt, interruption.Interrupted):
      return INTERRUPTED
    except (ValueError, OSError, RuntimeError) as error:
      return _refuse_run(error, made)
    except MemoryError as error:
      return _refuse_run(f'There is too little memory: {error}.', made)
    except AttributeError as error:
      # A `ConfigDict` raises it from the KeyError that it is.
      if not (error.args and isinstance(error.args[0], KeyError)):
        raise
      return _refuse_run(
        f'The config {found!r} lacks the setting {error.args[0].args[0]}: it '
        f'is of another command. Begin with {config}.',
        made,
      )

  logging.set_verbosity(logging.WARNING)
  try:
    argv, found = _with_config(sys.argv, config)
  except FileNotFoundError as error:
    sys.exit(_refuse(error))
  if command_help.is_asked(sys.argv):
    command_help.show(
      sys.modules[main.__module__].__doc__,
      names=[flag.name for flag in (*own, *_FLAGS)],
      config=found,
    )
    sys.exit(0)
  run_app(run, argv)
