# SPDX-License-Identifier: Apache-2.0
"""What damaged images of a folder cost a ranking and a fine-tuning."""

import numpy as np
import pytest

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax import tasks
from neucrab_jax.finetuning import run as finetuning_run
from neucrab_jax.finetuning import splits, trainer
from tests.ranking import ranked
from tests.tasks import image_folders

SPLITS = ('train', 'validation', 'test')
pytestmark = pytest.mark.filterwarnings('ignore:.*damaged images left out')


@pytest.fixture
def signs(tmp_path):
  """Three splits of two classes, one of them brighter."""
  rng = np.random.default_rng(0)
  for split in SPLITS:
    for label, name in enumerate(('dark', 'light')):
      for i in range(12):
        pixels = 90 * label + rng.integers(0, 160, (8, 8, 3))
        file = tmp_path / 'signs' / split / name / f'{i:02}.png'
        image_folders.save(file, pixels.astype(np.uint8))
  return tmp_path / 'signs'


@pytest.fixture
def config(signs, tmp_path):
  config = finetune_config.get_config()
  config.task.name = str(signs)
  config.task.num_examples = 0
  config.checkpoints = 'mini_random'
  config.protocol.mode = 'head'
  config.protocol.learning_rates = (0.1,)
  config.protocol.steps = (5,)
  config.protocol.batch_size = 8
  config.cache_dir = str(tmp_path / 'cache')
  return config


def damage(file):
  file.write_bytes(file.read_bytes()[:-30])


def test_bad_images_of_all_splits_are_one_error_before_any_training(
  config, signs, tmp_path, monkeypatch
):
  monkeypatch.setattr(
    trainer.Trainer, 'run', lambda *_: pytest.fail('It began.')
  )
  bad = [signs / split / 'dark' / '01.png' for split in ('train', 'test')]
  for file in bad:
    damage(file)
  with pytest.raises(tasks.BadImagesError, match='2 bad images') as error:
    finetuning_run.finetune(config, str(tmp_path / 'run'))
  assert list(error.value.faults) == bad


def test_after_a_repair_what_was_trained_is_not_trained_again(
  config, signs, tmp_path, monkeypatch
):
  load = splits.Splits.features

  def fail(self, role, *arguments, **options):
    if role == 'test':
      raise ValueError('An image cannot be decoded.')
    return load(self, role, *arguments, **options)

  with monkeypatch.context() as patch:
    patch.setattr(splits.Splits, 'features', fail)
    result = finetuning_run.finetune(config, str(tmp_path / 'run'))
  assert [failure.checkpoint for failure in result.failed] == ['mini_random']
  # Repaired, it is another image, and so another test split.
  image_folders.save(
    signs / 'test' / 'dark' / '01.png', np.zeros((8, 8, 3), 'u1')
  )
  with monkeypatch.context() as patch:
    patch.setattr(
      trainer._Group, '_train', lambda *_, **__: pytest.fail('Again.')
    )
    (again,) = finetuning_run.finetune(config, str(tmp_path / 'run')).accuracies
  (fresh,) = finetuning_run.finetune(config, str(tmp_path / 'new')).accuracies
  assert again.accuracy == fresh.accuracy
  assert again.trials[0].curve == fresh.trials[0].curve
  assert again.task == fresh.task


def test_fine_tuning_leaves_damaged_images_out_and_counts_them(
  config, signs, tmp_path, capsys
):
  for split, count in zip(SPLITS, (3, 0, 1), strict=True):
    for i in range(count):
      damage(signs / split / 'light' / f'{i:02}.png')
  config.task.skip_damaged = True
  result = finetuning_run.finetune(config, str(tmp_path / 'run'))
  parts = result.task.splits
  assert [parts[role].num_examples for role in SPLITS] == [21, 24, 23]
  assert [parts[role].num_damaged for role in SPLITS] == [3, 0, 1]
  page = (tmp_path / 'run' / 'report.html').read_text()
  for text in (capsys.readouterr().out, page):
    assert 'left out: 3.' in text
    assert 'left out: 1.' in text


def ranking_config(signs, tmp_path):
  config = measure_config.get_config('class_separation')
  config.task.name = str(signs)
  config.checkpoints = 'mini_random'
  config.cache_dir = str(tmp_path / 'cache')
  return config


def test_a_ranking_leaves_damaged_images_out_and_counts_them(
  signs, tmp_path, capsys
):
  config = ranking_config(signs, tmp_path)
  whole = ranked.rank(config, str(tmp_path / 'whole'))
  assert 'num_damaged' not in whole['task']
  assert 'damaged images' not in capsys.readouterr().out
  for i in range(2):
    damage(signs / 'train' / 'dark' / f'{i:02}.png')
  with pytest.raises(tasks.BadImagesError, match='2 bad images'):
    ranked.rank(config, str(tmp_path / 'refused'))
  config.task.skip_damaged = True
  result = ranked.rank(config, str(tmp_path / 'run'))
  assert result['task']['num_examples'] == 22
  assert result['task']['num_damaged'] == 2
  assert result['task']['fingerprint'] != whole['task']['fingerprint']
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'images left out: 2' in capsys.readouterr().out
  assert 'images left out: 2' in page


def test_a_limit_of_pixels_is_a_setting(signs, tmp_path):
  config = ranking_config(signs, tmp_path)
  config.task.max_megapixels = 6.3e-5
  with pytest.raises(tasks.BadImagesError, match=r'max_megapixels') as error:
    ranked.rank(config, str(tmp_path / 'run'))
  assert len(error.value.faults) == 24


@pytest.mark.filterwarnings('ignore:.*the images of every class are in')
def test_the_depth_of_classes_is_a_setting(signs, tmp_path):
  config = ranking_config(signs.parent, tmp_path)
  config.task.name = str(signs / 'train')
  for i, name in enumerate(('a', 'b')):
    for j in range(2):
      file = signs / 'train' / 'dark' / name / f'{j}.png'
      image_folders.save(file, image_folders.make_rgb(8, 8, seed=2 * i + j))
  for file in (signs / 'train' / 'dark').glob('*.png'):
    file.unlink()
  prints = set()
  for depth, classes in ((1, 2), (2, 3)):
    config.task.class_depth = depth
    task = ranked.rank(config, str(tmp_path / f'run{depth}'))['task']
    assert task['num_classes'] == classes
    prints.add(task['fingerprint'])
  assert len(prints) == 2
