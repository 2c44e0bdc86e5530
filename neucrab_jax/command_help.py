# SPDX-License-Identifier: Apache-2.0
"""What a command prints for --help: its flags, and the settings of its config.

Defaults are those of the config page that is asked for. What is said of a
setting is the comment beside its line: in the page, or in the file of this
package from which the page takes its settings.
"""

import ast
import importlib.util
import inspect
import io
import pathlib
import sys
import textwrap
import tokenize
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

_ASKED = {'help', 'h', '?', 'helpfull', 'helpshort'}
_WIDTH = 80

# A setting by the names on the way to it, such as ('task', 'split').
_Path = tuple[str, ...]


def is_asked(argv: Sequence[str]) -> bool:
  """Whether one of the arguments asks for help."""
  return any(
    argument.startswith('-') and argument.lstrip('-') in _ASKED
    for argument in argv[1:]
  )


def _comments(source: str) -> dict[int, tuple[str, bool]]:
  """By line, its comment, and whether there is nothing else on the line."""
  found = {}
  for token in tokenize.generate_tokens(io.StringIO(source).readline):
    if token.type == tokenize.COMMENT:
      alone = not token.line[: token.start[1]].strip()
      found[token.start[0]] = token.string.lstrip('#').strip(), alone
  return found


def _path(target: ast.expr) -> _Path:
  """('task', 'split') for config.task.split; nothing for what is no setting."""
  names = []
  while isinstance(target, ast.Attribute):
    names.append(target.attr)
    target = target.value
  is_setting = isinstance(target, ast.Name) and target.id == 'config'
  return tuple(reversed(names)) if is_setting else ()


def _explained(source: str) -> dict[_Path, str]:
  """The settings that a file assigns, and the comments beside or above them."""
  comments = _comments(source)
  found = {}
  for node in ast.walk(ast.parse(source)):
    if not isinstance(node, ast.Assign) or not (path := _path(node.targets[0])):
      continue
    above, line = [], node.lineno - 1
    while line in comments and comments[line][1]:
      above.insert(0, comments[line][0])
      line -= 1
    beside = comments.get(node.end_lineno or 0, ('', False))[0]
    found[path] = ' '.join(filter(None, (*above, beside)))
  return found


def _load(page: pathlib.Path) -> types.ModuleType:
  spec = importlib.util.spec_from_file_location(f'{page.stem}_config', page)
  if spec is None or spec.loader is None:
    raise ValueError(f'{str(page)!r} is no Python file.')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def _settings(
  config: Mapping[str, Any], above: _Path = ()
) -> Iterator[tuple[_Path, Any]]:
  """All settings of a config in its order, those of its parts at their end."""
  for name, value in config.items():
    if not isinstance(value, Mapping):
      yield (*above, name), value
  for name, value in config.items():
    if isinstance(value, Mapping):
      yield from _settings(value, (*above, name))


def _texts(module: types.ModuleType) -> dict[_Path, str]:
  return _explained(pathlib.Path(str(module.__file__)).read_text('utf-8'))


def _used_texts(page: types.ModuleType) -> dict[_Path, str]:
  """What the files of this package say of settings that a page takes."""
  package = __name__.partition('.')[0]
  found: dict[_Path, str] = {}
  for value in vars(page).values():
    if inspect.ismodule(value) and value.__name__.startswith(f'{package}.'):
      found.update(_texts(value))
  return found


def _entry(head: str, text: str) -> str:
  wrapped = textwrap.fill(
    text,
    _WIDTH,
    initial_indent=6 * ' ',
    subsequent_indent=6 * ' ',
    break_long_words=False,
    break_on_hyphens=False,
  )
  return f'  {head}' + (f'\n{wrapped}' if text else '')


def describe_config(given: str) -> str:
  """The settings of a config page, one after the other.

  Args:
    given: path of the page, and maybe an argument after a colon.
  """
  file, colon, argument = given.partition(':')
  page, about = pathlib.Path(file), ''
  try:
    about = ast.get_docstring(ast.parse(page.read_text('utf-8'))) or ''
    module = _load(page)
    config = module.get_config(*([argument] if colon else [])).to_dict()
  # The page is a program, and may be anyone's.
  except Exception as error:
    return (
      f'{page.name}: {about}\n\nThe settings of {given!r} cannot be shown: '
      f'{error}\nWhich there are may be a matter of what stands after a colon, '
      'as in --config=configs/measure.py:knn --help.\n'
    )
  own, used = _texts(module), _used_texts(module)
  entries = [
    _entry(
      f'--config.{".".join(path)}={value!r}',
      # The last: settings for another command, as a part of the config.
      own.get(path) or used.get(path) or used.get(path[1:], ''),
    )
    for path, value in _settings(config)
  ]
  return (
    f'{page.name}{colon}{argument}: {about}\n\nIts settings, with their '
    'defaults:\n\n' + '\n'.join(entries) + '\n'
  )


def _describe_flag(name: str) -> str:
  flag = flags.FLAGS[name]
  default = '' if flag.default is None else f'={flag.default!r}'
  return _entry(f'--{name}{default}', flag.help or '')


def show(
  about: str | None, *, names: Sequence[str], config: str | None = None
) -> None:
  """Prints the help of a command.

  Args:
    about: docstring of the command.
    names: of its flags.
    config: the page that it would run, if it takes one.
  """
  if isinstance(sys.stdout, io.TextIOWrapper):
    # A page may say anything, and a terminal may have ASCII alone.
    sys.stdout.reconfigure(errors='replace')
  print(f'{inspect.cleandoc(about or "")}\n\nFlags:\n')
  print('\n'.join(map(_describe_flag, names)))
  if config is not None:
    print(f'\n{describe_config(config)}', end='')
