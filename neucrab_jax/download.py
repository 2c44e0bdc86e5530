# SPDX-License-Identifier: Apache-2.0
r"""Downloads the weights of the paper's groups, and repositories of the hub.

  python -m neucrab_jax.download --group=neucrab_3 --dir=rank_ckpt
  python -m neucrab_jax.download --group='hf:timm/resnet*'

and then `--config.checkpoint_dir=rank_ckpt` ranks them. Run again, it verifies
what is there, and goes on where it was interrupted. Without a network it says
which file to put where. Nobody has published checksums of these files: what
came first is noted in `checksums.json`, and later downloads are compared.
Repositories of the Hugging Face hub go into its client's own cache.

Exit status: 0 if all is there, 1 if something could not be had, 2 if the input
was bad, 130 after Ctrl-C.
"""

from neucrab_jax import interruption

interruption.heed_from_start(__name__)

import functools
import os
import sys
from collections.abc import Callable

from absl import flags

from neucrab_jax import (
  checkpoints,
  command_help,
  command_line,
  progress,
  storage,
)
from neucrab_jax.checkpoints import archives, hub, readers

_GROUP = flags.DEFINE_string(
  'group', '', 'Group, or groups, names and hf:OWNER/NAME between commas.'
)
_DIR = flags.DEFINE_string('dir', 'rank_ckpt', 'Folder for the weights.')

# All of the paper's own networks are in one archive.
RANK_CKPT_URL = (
  'http://storage.googleapis.com/gresearch/rank_ckpt/rank_ckpt.zip'
)
_RANK_CKPT = 'rank_ckpt.zip'
VTAB_URL = 'https://storage.googleapis.com/vtab'
_VTAB = 'vtab/'


# What to tell the user, beside what failed.
_Tell = Callable[[str], None]


def _origin(name: str, fetched: archives.Fetched) -> str:
  """What is to be said of a file that nothing has been compared with.

  Nobody has published checksums of these files.
  """
  if not fetched.downloaded:
    how = 'It was there before, and is taken as it is.'
  elif fetched.url.startswith('https://'):
    how = 'It came by https, from the server that it says.'
  else:
    how = (
      'It came by plain http, because https failed: anyone between the server '
      'and you could have changed it.'
    )
  return (
    f'{name}: nothing pins this file, for there is no published checksum of '
    f'it. {how} Its SHA-256 is {fetched.sha256}; compare it with a copy that '
    'you trust. From now on it is compared with that.'
  )


def _get_zip(
  folder: archives.Folder, tell: _Tell, report: archives.Report
) -> None:
  members = folder.members(_RANK_CKPT)
  if members and all(folder.holds(name, report) for name in members):
    return
  fetched = folder.fetch(_RANK_CKPT, RANK_CKPT_URL, report)
  folder.unpack(_RANK_CKPT, report)
  folder.record(_RANK_CKPT, fetched.sha256, url=fetched.url)
  if not fetched.known:
    tell(_origin(_RANK_CKPT, fetched))


def _get_module(
  folder: archives.Folder, name: str, tell: _Tell, report: archives.Report
) -> None:
  if folder.holds(name, report):
    return
  url = f'{VTAB_URL}/{name.removeprefix(_VTAB)}'
  fetched = folder.fetch(name, url, report)
  folder.check_tar(name)
  folder.record(name, fetched.sha256, url=fetched.url)
  if not fetched.known:
    tell(_origin(name, fetched))


def _get_repository(reference: str, report: archives.Report) -> None:
  folder, source = hub.fetch(reference)
  size = sum((folder / name).stat().st_size for name in source.files)
  report(size, size)


def _say(message: str) -> None:
  print(f'download: {message}', file=sys.stderr)


def download(selection: str, folder: str, tell: _Tell = _say) -> list[str]:
  """Gets what a selection of checkpoints needs.

  Args:
    selection: groups and names, as `checkpoints.select` takes them.
    folder: where to; it is made if need be.
    tell: called with what the user should know of files that are there.

  Returns:
    What went wrong, a message each; the rest is there.

  Raises:
    ValueError: if the selection is empty or a part of it unknown, or the folder
      cannot be written to, or its `checksums.json` is damaged.
  """
  paths = [found.path for found in checkpoints.resolve(selection)]
  storage.check_writable(folder)
  target = archives.Folder(folder)
  jobs, told = {}, []
  for path in paths:
    if path.startswith(readers.HUB):
      jobs[path] = functools.partial(_get_repository, path)
    elif path.startswith(_VTAB):
      jobs[path] = functools.partial(_get_module, target, path, told.append)
    elif not os.path.isabs(path):
      jobs[_RANK_CKPT] = functools.partial(_get_zip, target, told.append)
  failures = []
  with progress.downloads() as add:
    for name, get in jobs.items():
      try:
        get(add(name))
      except (ValueError, OSError) as error:
        failures.append(str(error))
  # After the bars, which would hide it.
  for message in told:
    tell(message)
  return failures


def main(argv: list[str]) -> int:
  del argv
  try:
    with interruption.handled():
      failures = download(_GROUP.value, _DIR.value)
  except (ValueError, OSError) as error:
    _say(str(error))
    return command_line.BAD_INPUT
  except KeyboardInterrupt:
    _say('interrupted; run this again to go on.')
    return command_line.INTERRUPTED
  for failure in failures:
    _say(failure)
  if failures:
    return command_line.FAILED
  print(
    f'All there. To rank them: --config.checkpoints={_GROUP.value} '
    f'--config.checkpoint_dir={_DIR.value}'
  )
  return 0


def start() -> None:
  if command_help.is_asked(sys.argv):
    command_help.show(__doc__, names=[_GROUP.name, _DIR.name])
    sys.exit(0)
  command_line.run_app(main, sys.argv)


if __name__ == '__main__':
  start()
