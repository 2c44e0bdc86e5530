# SPDX-License-Identifier: Apache-2.0
r"""Downloads the weights of the paper's groups.

  python -m neucrab_jax.download --group=neucrab_3 --dir=rank_ckpt

and then `--config.checkpoint_dir=rank_ckpt` ranks them. Run again, it verifies
what is there, and goes on where it was interrupted. Without a network it says
which file to put where.

Exit status: 0 if all is there, 1 if something could not be had, 2 if the input
was bad, 130 after Ctrl-C.
"""

import functools
import os
import sys

from absl import app, flags

from neucrab_jax import checkpoints, command_line, progress, storage
from neucrab_jax.checkpoints import archives

_GROUP = flags.DEFINE_string(
  'group', '', 'Group, or groups and names of checkpoints between commas.'
)
_DIR = flags.DEFINE_string('dir', 'rank_ckpt', 'Folder for the weights.')

# All of the paper's own networks are in one archive.
RANK_CKPT_URL = (
  'http://storage.googleapis.com/gresearch/rank_ckpt/rank_ckpt.zip'
)
_RANK_CKPT = 'rank_ckpt.zip'
VTAB_URL = 'https://storage.googleapis.com/vtab'
_VTAB = 'vtab/'


def _get_zip(folder: archives.Folder, report: archives.Report) -> None:
  members = folder.members(_RANK_CKPT)
  if members and all(folder.holds(name, report) for name in members):
    return
  sha256 = folder.fetch(_RANK_CKPT, RANK_CKPT_URL, report)
  folder.unpack(_RANK_CKPT, report)
  folder.record(_RANK_CKPT, sha256, url=RANK_CKPT_URL)


def _get_module(
  folder: archives.Folder, name: str, report: archives.Report
) -> None:
  if folder.holds(name, report):
    return
  url = f'{VTAB_URL}/{name.removeprefix(_VTAB)}'
  sha256 = folder.fetch(name, url, report)
  folder.check_tar(name)
  folder.record(name, sha256, url=url)


def download(selection: str, folder: str) -> list[str]:
  """Gets what a selection of checkpoints needs.

  Args:
    selection: groups and names, as `checkpoints.select` takes them.
    folder: where to; it is made if need be.

  Returns:
    What went wrong, a message each; the rest is there.

  Raises:
    ValueError: if the selection is empty or a part of it unknown, or the folder
      cannot be written to, or its `checksums.json` is damaged.
  """
  paths = [checkpoints.get(name).path for name in checkpoints.expand(selection)]
  storage.check_writable(folder)
  target = archives.Folder(folder)
  jobs = {}
  for path in paths:
    if path.startswith(_VTAB):
      jobs[path] = functools.partial(_get_module, target, path)
    elif not os.path.isabs(path):
      jobs[_RANK_CKPT] = functools.partial(_get_zip, target)
  failures = []
  with progress.downloads() as add:
    for name, get in jobs.items():
      try:
        get(add(name))
      except (ValueError, OSError) as error:
        failures.append(str(error))
  return failures


def main(argv: list[str]) -> int:
  del argv
  try:
    failures = download(_GROUP.value, _DIR.value)
  except (ValueError, OSError) as error:
    print(f'download: {error}', file=sys.stderr)
    return command_line.BAD_INPUT
  except KeyboardInterrupt:
    print('download: interrupted; run this again to go on.', file=sys.stderr)
    return command_line.INTERRUPTED
  for failure in failures:
    print(f'download: {failure}', file=sys.stderr)
  if failures:
    return command_line.FAILED
  print(
    f'All there. To rank them: --config.checkpoints={_GROUP.value} '
    f'--config.checkpoint_dir={_DIR.value}'
  )
  return 0


def start() -> None:
  app.run(main)


if __name__ == '__main__':
  start()
