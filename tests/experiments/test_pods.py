# SPDX-License-Identifier: Apache-2.0
import pathlib
import shlex
import subprocess

import pytest

from experiments.pods import tpu_vm

FOLDER = pathlib.Path(tpu_vm.__file__).parent
COMMAND = ('python3', '-m', 'neucrab_jax.rank', "--config.features='a b/*.npz'")


def commands(capsys, *flags):
  """What a dry run would run, as words."""
  assert tpu_vm.main([*flags, '--dry_run', '--', *COMMAND]) == 0
  lines = capsys.readouterr().out.splitlines()
  return [shlex.split(line.removeprefix('+ ')) for line in lines]


def test_a_dry_run_prints_all_that_would_be_run(capsys):
  found = commands(capsys, '--name=pod', '--results=runs/mine', '--spot')
  verbs = [words[4] for words in found if words[0] == 'gcloud']
  assert verbs == ['create', 'scp', 'ssh', 'ssh', 'ssh', 'scp', 'delete']
  assert all('--zone=us-central2-b' in w for w in found if w[0] == 'gcloud')
  assert '--spot' in found[0]
  assert found[-2][5:8] == ['--recurse', 'pod:runs/mine', 'runs']
  # Within shells within shells, the command is what was given.
  (started,) = (w for words in found for w in words if 'nohup' in w)
  script = shlex.split(started.partition('nohup ')[2])[2]
  assert shlex.split(script.partition(';')[0]) == [*COMMAND, '--distributed']


def test_a_vm_can_stay(capsys):
  assert commands(capsys, '--keep')[-1][4] == 'ssh'


def test_a_lost_connection_is_made_again(monkeypatch, capsys):
  statuses = iter([0] * 5 + [255, 255, 3, 0])
  monkeypatch.setattr(
    subprocess,
    'run',
    lambda command, check: subprocess.CompletedProcess(command, next(statuses)),
  )
  # It was there, and stays.
  assert tpu_vm.main(['--', *COMMAND]) == 3
  assert capsys.readouterr().out.count('tail -n +1') == 3


def test_what_fails_leaves_no_vm_behind(monkeypatch, capsys):
  statuses = iter([1, 0, 7, 0])
  monkeypatch.setattr(
    subprocess,
    'run',
    lambda command, check: subprocess.CompletedProcess(command, next(statuses)),
  )
  with pytest.raises(SystemExit, match=r'status 7: .* pip wheel'):
    tpu_vm.main(['--', *COMMAND])
  assert 'tpu-vm delete neucrab' in capsys.readouterr().out


def test_the_job_for_slurm_is_a_script():
  script = FOLDER / 'slurm.sbatch'
  assert subprocess.run(['bash', '-n', script], check=False).returncode == 0
  refused = subprocess.run(
    ['bash', script], capture_output=True, text=True, check=False
  )
  assert refused.returncode == 2
  assert 'Give the command' in refused.stderr


def test_the_jobs_of_kubernetes_are_of_one_slice():
  yaml = pytest.importorskip('yaml')
  job = yaml.safe_load((FOLDER / 'jobset.yaml').read_text())
  (workers,) = job['spec']['replicatedJobs']
  spec = workers['template']['spec']
  assert spec['parallelism'] == spec['completions']
  pod = spec['template']['spec']
  (container,) = pod['containers']
  assert container['command'][-1] == '--distributed'
  chips = container['resources']['limits']['google.com/tpu']
  topology = pod['nodeSelector']['cloud.google.com/gke-tpu-topology']
  sides = [int(side) for side in topology.split('x')]
  assert sides[0] * sides[1] * sides[2] == chips * spec['parallelism']
