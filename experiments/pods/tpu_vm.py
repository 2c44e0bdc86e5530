# SPDX-License-Identifier: Apache-2.0
r"""Runs a command on all workers of a TPU VM, and brings its results.

  python -m experiments.pods.tpu_vm --name=mine --zone=us-central2-b \
      --accelerator=v4-32 --results=runs/pod \
      --setup='mkdir -p runs && gcsfuse --implicit-dirs BUCKET runs' -- \
      python3 -m neucrab_jax.finetune --config=configs/finetune.py \
      --workdir=runs/pod

Makes the VM, or takes the one of that name; installs this package on all
workers, and runs the setup there; starts the command with `--distributed`, in
the background, so that a lost connection does not end it; follows its log;
copies the results from the first worker; and deletes the VM, unless it was
there before or --keep is given. --dry_run prints the gcloud commands alone.

What all workers have to see, the states of training above all, is in a bucket
that the setup mounts. Preempted, start it again: it goes on from there.
"""

import argparse
import dataclasses
import pathlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence

_ROOT = pathlib.Path(__file__).parents[2]
# On each worker: what the command prints, and its status when it ends.
_LOG, _STATUS = 'neucrab.log', 'neucrab.status'
# The status of ssh itself, when the connection is lost.
_LOST = 255


@dataclasses.dataclass(frozen=True)
class _Vm:
  """A TPU VM, and the commands that are run on it.

  Attributes:
    options: of the command line.
  """

  options: argparse.Namespace

  def gcloud(self, verb: str, *arguments: str) -> list[str]:
    command = ['gcloud', 'compute', 'tpus', 'tpu-vm', verb, *arguments]
    command.append(f'--zone={self.options.zone}')
    if self.options.project:
      command.append(f'--project={self.options.project}')
    return command

  def ssh(self, command: str, *, worker: str = 'all') -> list[str]:
    return self.gcloud(
      'ssh', self.options.name, f'--worker={worker}', f'--command={command}'
    )

  def run(self, command: Sequence[str]) -> int:
    """Prints a command and runs it, unless it is not to be."""
    print(f'+ {shlex.join(command)}', flush=True)
    if self.options.dry_run:
      return 0
    return subprocess.run(command, check=False).returncode

  def must(self, command: Sequence[str]) -> None:
    """Runs a command that the next ones need.

    Raises:
      SystemExit: if it fails.
    """
    if status := self.run(command):
      sys.exit(f'This failed with status {status}: {shlex.join(command)}')

  def is_there(self) -> bool:
    if self.options.dry_run:
      return False
    found = self.gcloud('describe', self.options.name, '--format=value(state)')
    return self.run(found) == 0

  def make(self) -> None:
    self.must(
      self.gcloud(
        'create',
        self.options.name,
        f'--accelerator-type={self.options.accelerator}',
        f'--version={self.options.version}',
        *['--spot'] * self.options.spot,
      )
    )

  def install(self) -> None:
    """Puts a wheel of this checkout on all workers, and JAX for TPUs."""
    with tempfile.TemporaryDirectory() as folder:
      self.must(
        [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '-w', folder,
         str(_ROOT)]
      )  # fmt: skip
      wheels = [str(path) for path in pathlib.Path(folder).glob('*.whl')]
      # A dry run has built none.
      wheel = wheels[0] if wheels else f'{folder}/neucrab_jax.whl'
      there = f'{self.options.name}:'
      self.must(self.gcloud('scp', wheel, there, '--worker=all'))
    wanted = f'./{pathlib.Path(wheel).name}'
    if self.options.extras:
      wanted += f'[{self.options.extras}]'
    wanted = shlex.quote(wanted)
    self.must(self.ssh(f"python3 -m pip install -q -U {wanted} 'jax[tpu]'"))
    if self.options.setup:
      self.must(self.ssh(self.options.setup))

  def start(self, command: Sequence[str]) -> None:
    """Starts the command on all workers, where it goes on by itself."""
    distributed = shlex.join([*command, '--distributed'])
    script = shlex.quote(f'{distributed}; echo $? > {_STATUS}')
    self.must(
      self.ssh(
        f'rm -f {_STATUS}; nohup sh -c {script} > {_LOG} 2>&1 < /dev/null &'
      )
    )

  def follow(self) -> int:
    """Shows the first worker's log until the command ends, and its status."""
    wait = (
      f'tail -n +1 -F {_LOG} & while [ ! -s {_STATUS} ]; do sleep 5; done; '
      f'sleep 1; kill $!; exit $(cat {_STATUS})'
    )
    status = self.run(self.ssh(wait, worker='0'))
    while status == _LOST:
      status = self.run(self.ssh(wait, worker='0'))
    return status

  def bring(self) -> None:
    """Copies the results from the first worker, which writes them."""
    here = pathlib.Path(self.options.results)
    if not self.options.dry_run:
      here.parent.mkdir(parents=True, exist_ok=True)
    there = f'{self.options.name}:{here}'
    self.must(
      self.gcloud('scp', '--recurse', there, str(here.parent), '--worker=0')
    )

  def delete(self) -> None:
    self.run(self.gcloud('delete', self.options.name, '--quiet'))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
  parser.add_argument('--name', default='neucrab', help='of the TPU VM')
  parser.add_argument('--zone', default='us-central2-b', help='where it is')
  parser.add_argument('--project', default='', help="empty for gcloud's own")
  parser.add_argument('--accelerator', default='v4-32', help='type and cores')
  parser.add_argument(
    '--version',
    default='tpu-ubuntu2204-base',
    help='image of a VM that is made',
  )
  parser.add_argument('--spot', action='store_true', help='may be preempted')
  parser.add_argument('--setup', default='', help='run on all workers first')
  parser.add_argument('--results', default='', help='folder to copy here')
  parser.add_argument('--extras', default='tfds', help='of this package')
  parser.add_argument('--keep', action='store_true', help='the VM stays')
  parser.add_argument('--dry_run', action='store_true', help='print only')
  parser.add_argument('command', nargs='+', help='after --')
  return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
  options = _parse(arguments)
  vm = _Vm(options)
  was_there = vm.is_there()
  if not was_there:
    vm.make()
  try:
    vm.install()
    vm.start(options.command)
    status = vm.follow()
    if options.results:
      vm.bring()
    return status
  finally:
    if not was_there and not options.keep:
      vm.delete()


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
