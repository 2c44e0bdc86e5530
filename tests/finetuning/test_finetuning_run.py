# SPDX-License-Identifier: Apache-2.0
import importlib.util
import json
import pathlib
import threading

import numpy as np
import pytest

from neucrab_jax import storage
from neucrab_jax.finetuning import run, splits, sweep, trainer

ROOT = pathlib.Path(__file__).parents[2]
FEW = 'mini_sup_glyphs,mini_random'


def load_config(variant='mini'):
  spec = importlib.util.spec_from_file_location(
    'finetune_config', ROOT / 'configs' / 'finetune.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(variant)


@pytest.fixture
def config(tmp_path):
  """Linear classifiers on cached features: a second, not a minute."""
  config = load_config()
  config.checkpoints = FEW
  config.protocol.mode = 'head'
  config.protocol.learning_rates = (1.0, 0.1)
  config.protocol.steps = (60,)
  config.cache_dir = str(tmp_path / 'cache')
  return config


def finetune(config, workdir):
  """What a run came to, as its records hold it."""
  return storage.to_builtins(run.finetune(config, workdir))


def test_every_checkpoint_leaves_a_record(config, tmp_path, capsys):
  result = finetune(config, str(tmp_path / 'run'))
  assert result['failed'] == []
  good, control = result['accuracies']
  assert good['accuracy'] > control['accuracy'] + 0.05
  folder = tmp_path / 'run'
  for record in (good, control):
    file = folder / 'accuracies' / 'digits' / f'{record["checkpoint"]}.json'
    written = json.loads(file.read_text())
    assert written.pop('sha256')
    assert written == record
    assert len(record['trials']) == 2
    (chosen,) = record['chosen']
    best = max(trial['validation_accuracy'] for trial in record['trials'])
    assert record['trials'][chosen]['validation_accuracy'] == best
    tested = [trial['test_accuracy'] for trial in record['trials']]
    assert tested.count(None) == 1
    assert record['accuracy'] == tested[chosen]
  parts = good['task']['splits']
  sizes = [part['num_examples'] for part in parts.values()]
  assert sizes == [200, 300, 497]
  # States are for what is not finished.
  assert not list((folder / 'states').glob('*/*'))
  printed = capsys.readouterr().out
  page = (folder / 'report.html').read_text()
  for name in FEW.split(','):
    assert name in printed
    assert name in page
    assert name in (folder / 'accuracies.csv').read_text()
  assert page.count('<svg') == 1
  assert json.loads((folder / 'config.json').read_text())['checkpoints'] == FEW


def test_what_is_on_record_is_not_done_again(config, tmp_path, monkeypatch):
  first = finetune(config, str(tmp_path))

  def fail(*unused, **options):
    raise AssertionError('It was trained again.')

  monkeypatch.setattr(trainer.Trainer, 'run', fail)
  again = finetune(config, str(tmp_path))
  assert again == first
  # Other settings are not mixed with what is there.
  config.protocol.learning_rates = (0.5,)
  other = finetune(config, str(tmp_path))
  assert other['accuracies'] == []
  assert all('other settings' in entry['error'] for entry in other['failed'])
  file = tmp_path / 'accuracies' / 'digits' / 'mini_random.json'
  written = json.loads(file.read_text())
  assert written.pop('sha256')
  assert written == first['accuracies'][1]


def test_a_damaged_record_is_made_again_and_that_is_said(
  config, tmp_path, capfd
):
  config.checkpoints = 'mini_random'
  (first,) = finetune(config, str(tmp_path))['accuracies']
  file = tmp_path / 'accuracies' / 'digits' / 'mini_random.json'
  file.write_text(file.read_text().replace('"accuracy": 0.', '"accuracy": 0.1'))
  (again,) = finetune(config, str(tmp_path))['accuracies']
  assert again['accuracy'] == first['accuracy']
  assert 'It is made again' in ' '.join(capfd.readouterr().err.split())


def test_a_failing_checkpoint_does_not_take_the_others_down(config, tmp_path):
  config.checkpoints = 'imagenet_mobilenet_v1_025,mini_random'
  config.checkpoint_dir = str(tmp_path)
  result = finetune(config, str(tmp_path / 'run'))
  assert [entry['checkpoint'] for entry in result['failed']] == [
    'imagenet_mobilenet_v1_025'
  ]
  assert [r['checkpoint'] for r in result['accuracies']] == ['mini_random']


def test_the_first_network_alone_compiles_and_that_is_shown(
  config, tmp_path, capsys
):
  config.protocol.steps = (7,)  # Of a shape of its own.
  config.protocol.batch_size = 56
  config.checkpoints = FEW
  first, second = finetune(config, str(tmp_path / 'run'))['accuracies']
  assert first['compile_seconds'] > 0
  assert second.get('compile_seconds', 0) == 0
  assert 'compiling' in capsys.readouterr().out
  assert 'compiling' in (tmp_path / 'run' / 'report.html').read_text()


def test_if_all_fail_there_is_no_table(config, tmp_path, capsys):
  config.checkpoints = 'imagenet_mobilenet_v1_025'
  config.checkpoint_dir = str(tmp_path)
  finetune(config, str(tmp_path / 'run'))
  printed = capsys.readouterr().out
  assert 'failed imagenet_mobilenet_v1_025' in printed
  assert 'Fine-tuned accuracy' not in printed
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'No checkpoint could be fine-tuned' in page
  assert page.count('<table') == 0


def test_without_a_validation_split_a_fifth_is_held_out(config, tmp_path):
  config.task.validation = ''
  config.checkpoints = 'mini_random'
  result = finetune(config, str(tmp_path))
  parts = result['task']['splits']
  sizes = [part['num_examples'] for part in parts.values()]
  assert sizes == [160, 40, 497]
  assert parts['validation']['split'] == 'train'
  (accuracy,) = result['accuracies']
  assert '40 of these are held out' in ' '.join(accuracy['warnings'])


@pytest.mark.parametrize(
  ('train', 'validation', 'test', 'sizes'),
  [
    ('train[:80%]', 'train[80%:]', 'test', (800, 200, 497)),
    ('train[:30%]', 'train[30%:60%]', 'train[60%:]', (300, 300, 400)),
    ('train', 'val', 'test', (1000, 300, 497)),
    ('trainval', '', 'test', (1040, 260, 497)),
  ],
)
def test_parts_that_share_no_example_go_together(
  train, validation, test, sizes, config, tmp_path
):
  config.task.update(
    {'train': train, 'validation': validation, 'test': test, 'num_examples': 0}
  )
  parts = splits.Splits(config.task, tmp_path).parts
  assert tuple(len(parts[r].indices) for r in splits.ROLES) == sizes


@pytest.mark.parametrize('way', ['signs.npz', './signs.npz'])
def test_a_task_with_one_split_holds_out_two_fifths_and_says_so(
  way, config, tmp_path, monkeypatch
):
  rng = np.random.default_rng(0)
  labels = np.arange(100) % 4
  images = 60 * labels[:, None, None] + rng.integers(40, size=(100, 8, 8))
  np.savez(tmp_path / 'signs.npz', images=images.astype('u1'), labels=labels)
  monkeypatch.chdir(tmp_path)
  config.task.name = way
  config.task.num_examples = 0
  config.checkpoints = 'mini_random'
  result = finetune(config, 'run')
  assert result['failed'] == []
  assert result['task']['name'] == 'signs.npz'
  parts = result['task']['splits']
  sizes = [part['num_examples'] for part in parts.values()]
  assert sizes == [64, 16, 20]
  assert {part['split'] for part in parts.values()} == {'train'}
  (accuracy,) = result['accuracies']
  told = ' '.join(accuracy['warnings'])
  assert "no split 'test': 20 examples of 'train' are held out" in told
  assert "no split 'validation': 16 examples" in told


def test_what_another_run_is_at_comes_last_and_is_not_done_twice(
  config, tmp_path, monkeypatch, capfd
):
  trained = []
  train = trainer.Trainer.run

  def counting(engine, trials):
    trained.append(engine)
    return train(engine, trials)

  monkeypatch.setattr(trainer.Trainer, 'run', counting)
  first = finetune(config, str(tmp_path / 'first'))
  assert len(trained) == 2
  # The other run has claimed one checkpoint, and writes it in a while.
  record = first['accuracies'][0]
  folder = tmp_path / 'second'
  file = folder / 'accuracies' / 'digits' / f'{record["checkpoint"]}.json'
  claimed, write = threading.Event(), threading.Event()

  def other_run():
    with storage.claim(file) as mine:
      assert mine
      claimed.set()
      write.wait(timeout=60)
      storage.write_sealed(file, record)

  other = threading.Thread(target=other_run)
  other.start()
  claimed.wait(timeout=60)

  def counting_and_letting_go(engine, trials):
    write.set()
    return counting(engine, trials)

  monkeypatch.setattr(trainer.Trainer, 'run', counting_and_letting_go)
  second = finetune(config, str(folder))
  other.join()
  assert len(trained) == 3
  assert second['accuracies'][0] == record
  assert 'another run is at it' in ' '.join(capfd.readouterr().err.split())


@pytest.mark.parametrize(
  ('settings', 'message'),
  [
    ({'task.name': 'digts'}, "'digits'"),
    ({'task.test': 'tset'}, "Did you mean 'test'"),
    ({'task.validation': 'test'}, 'splits of their own'),
    ({'task.train': 'trainval'}, '300 examples in common'),
    ({'task.test': 'validation', 'task.validation': 'val'}, 'in common'),
    (
      {'task.train': 'train[:80%]', 'task.validation': 'train'},
      '800 examples in common.*train.80%:',
    ),
    (
      {'task.train': 'train[:80%]', 'task.test': 'train[79%:]'},
      '10 examples in common',
    ),
    ({'task.num_examples': 5}, '5 examples are too few'),
    ({'checkpoints': 'mini_rotatoin'}, "Did you mean 'mini_rotation'"),
    ({'protocol.mode': 'hed'}, "Did you mean 'head'"),
    ({'protocol.momentum': 2.0}, 'momentum must be from 0 to 1'),
    ({'save_steps': 0}, 'save_steps must be at least 1'),
    ({'together': -1}, 'together must be at least 0'),
  ],
)
def test_refuses_bad_input_before_any_work(
  config, tmp_path, monkeypatch, settings, message
):
  monkeypatch.setattr(
    trainer.Trainer, 'run', lambda *_: pytest.fail('It began.')
  )
  for name, value in settings.items():
    config.update_from_flattened_dict({name: value})
  with pytest.raises(ValueError, match=message):
    finetune(config, str(tmp_path))
  assert not (tmp_path / 'config.json').exists()


def test_a_batch_that_the_devices_cannot_share_is_refused(
  config, tmp_path, monkeypatch
):
  monkeypatch.setattr('jax.device_count', lambda: 7)
  with pytest.raises(ValueError, match='64 cannot be split over 7 devices'):
    finetune(config, str(tmp_path))


@pytest.mark.parametrize(
  ('variant', 'trials', 'batch_size'),
  [('mini', 4, 64), ('vtab', 4, 512), ('vtab_1k', 1, 64)],
)
def test_the_configs_are_protocols(variant, trials, batch_size):
  protocol = sweep._protocol(load_config(variant).protocol)
  assert len(protocol.trials()) == trials
  assert protocol.batch_size == batch_size


def test_tensorboard_gets_the_curves(config, tmp_path):
  config.tensorboard = True
  config.checkpoints = 'mini_random'
  finetune(config, str(tmp_path))
  from tensorboard.backend.event_processing import event_accumulator
  from tensorboard.util.tensor_util import make_ndarray

  folder = tmp_path / 'tensorboard'
  (written,) = folder.glob('*/*/lr1.0-steps60-seed0')
  events = event_accumulator.EventAccumulator(str(written))
  events.Reload()
  assert 'validation_accuracy' in events.Tags()['tensors']
  record = json.loads(
    (tmp_path / 'accuracies' / 'digits' / 'mini_random.json').read_text()
  )
  points = events.Tensors('validation_accuracy')
  curve = record['trials'][0]['curve']
  assert [event.step for event in points] == [p['step'] for p in curve]
  values = [float(make_ndarray(event.tensor_proto)) for event in points]
  wanted = [point['validation_accuracy'] for point in curve]
  assert values == pytest.approx(wanted)
