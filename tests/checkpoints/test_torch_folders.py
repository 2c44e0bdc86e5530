# SPDX-License-Identifier: Apache-2.0
"""Folders of config.json and safetensors: what is read, and what is refused."""

import json

import ml_dtypes
import numpy as np
import pytest
from safetensors import numpy as safetensors

from configs import finetune as finetune_config
from configs import measure as measure_config
from neucrab_jax import checkpoints
from neucrab_jax.finetuning import run as finetuning
from tests.checkpoints import tiny_torch as tiny
from tests.checkpoints import torch_files
from tests.ranking import ranked

_IMAGES = np.random.default_rng(0).normal(size=(3, 16, 16, 3)).astype('f')


@pytest.fixture
def stored():
  return tiny.vit()


def _restore(folder, stored, config=None, **options):
  torch_files.write(
    folder, config=config or tiny.config(), stored=stored, **options
  )
  return checkpoints.restore(str(folder))


def test_what_the_config_says_is_read(tmp_path, stored):
  backbone = _restore(tmp_path / 'mine.v1', stored)
  found = backbone.checkpoint
  assert (found.name, found.image_size) == ('mine.v1', 16)
  assert found.architecture == 'vit_tiny_patch8_16'
  assert found.resize_method == 'bicubic/shorter=20'
  assert found.value_range == ((-2.0, -1.0, 0.0), (2.0, 1.0, 1.0))
  outputs = backbone(_IMAGES)
  assert outputs.features.shape == (3, 64)
  assert outputs.logits is not None
  assert outputs.logits.shape == (3, 5)
  assert backbone.module.block.num_heads == 2


def test_several_files_are_one_checkpoint(tmp_path, stored):
  whole = _restore(tmp_path / 'whole', stored)
  folder = torch_files.write(
    tmp_path / 'parts', config=tiny.config(), stored=stored
  )
  (folder / 'model.safetensors').unlink()
  files = {name: f'part-{i % 2}.safetensors' for i, name in enumerate(stored)}
  for file in set(files.values()):
    part = {name: stored[name] for name in stored if files[name] == file}
    safetensors.save_file(part, folder / file)
  index = folder / 'model.safetensors.index.json'
  index.write_text(json.dumps({'metadata': {}, 'weight_map': files}))
  parts = checkpoints.restore(str(folder))
  assert parts.fingerprint == whole.fingerprint
  (folder / 'part-1.safetensors').unlink()
  with pytest.raises(FileNotFoundError, match=r"lacks 'part-1"):
    checkpoints.restore(str(folder))


@pytest.mark.parametrize('kind', [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_widened(kind, tmp_path, stored):
  halves = {name: value.astype(kind) for name, value in stored.items()}
  backbone = _restore(tmp_path / 'half', halves)
  kernel = backbone.variables['params']['head']['kernel']
  assert kernel.dtype == np.float32
  expected = halves['head.weight'].astype(np.float32).T
  np.testing.assert_array_equal(kernel, expected)


def test_what_is_no_variable_of_the_network_is_skipped(tmp_path, stored):
  stored['norm.num_batches_tracked'] = np.zeros((), np.int64)
  stored['text_model.embeddings.weight'] = np.zeros((3, 4), np.float32)
  backbone = _restore(tmp_path / 'x', stored)
  assert backbone.skipped == (
    'norm.num_batches_tracked',
    'text_model.embeddings.weight',
  )


def _without(stored, name):
  del stored[name]


_NAN = np.full(64, np.nan, np.float32)


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda s: s.pop('blocks.0.norm2.bias'), r"lacks 1 .*'blocks.0.norm2.bias"),
    (lambda s: s.update(extra=np.zeros(3, 'f')), r"the unknown 1 .*'extra'"),
    (
      lambda s: s.update({'norm.bias': np.zeros(5, 'f')}),
      r"'norm.bias' of shape \[5\], but the network wants \[64\]",
    ),
    (lambda s: s.update({'norm.bias': _NAN}), r"NaN or Inf in 'norm.bias'"),
    (
      lambda s: s.update({'norm.bias': np.zeros(64, np.int8)}),
      "'norm.bias' of type I8",
    ),
    (lambda s: s.pop('pos_embed'), "lacks the variable 'pos_embed'"),
    (lambda s: s.pop('patch_embed.proj.weight'), 'patch_embed.proj.weight'),
    (
      lambda s: s.update(pos_embed=np.zeros((1, 8, 64), 'f')),
      '8 positions are not those of a square',
    ),
  ],
)
def test_wrong_variables_are_one_line(change, message, tmp_path, stored):
  change(stored)
  with pytest.raises(ValueError, match=message) as caught:
    _restore(tmp_path / 'x', stored)
  assert str(tmp_path) in str(caught.value)
  assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'architecture': 'xcit_n'}, "'xcit_n' is not supported.*resnet.*ONNX"),
    ({'architecture': 'vit_tiny_patch8_rope_16'}, 'is not supported'),
    ({'model_args': {'magic': 3}}, 'magic=3 is not supported'),
    ({'model_args': {'num_heads': 7}}, '7 heads cannot share 64'),
    ({'model_args': {'act_layer': 'mish'}}, "'mish' is not known"),
    ({'pretrained_cfg': None}, 'Write into its config.json.*"crop_pct"'),
    ({'pretrained_cfg': {'mean': [0, 0, 0]}}, 'should be like'),
    ({'model_args': {'norm_eps': 1e300}}, r'epsilon 1e\+300, not below 1'),
    ({'model_args': {'drop_rate': 2}}, 'drop_rate 2, not from 0 to 1'),
    ({'global_pool': 'max'}, "pooled by 'max'"),
    ({'architecture': 3}, 'is not supported'),
    ({'model_args': [1]}, r'model_args \[1\], and not an object'),
  ],
)  # fmt: skip
def test_wrong_configs_are_one_line(changes, message, tmp_path, stored):
  config = {**tiny.config(), **changes}
  with pytest.raises(ValueError, match=message):
    _restore(tmp_path / 'x', stored, config)


def test_a_config_that_names_no_network_is_refused(tmp_path, stored):
  with pytest.raises(ValueError, match="neither timm's architecture nor"):
    _restore(tmp_path / 'x', stored, {'hidden_size': 3})
  odd = {'model_type': 'clip', 'vision_config': 3}
  with pytest.raises(ValueError, match='vision_config 3, and not an object'):
    _restore(tmp_path / 'x', stored, odd)


def test_transformers_preprocessing_is_asked_for(tmp_path):
  with pytest.raises(ValueError, match=r'Write a preprocessor_config.json'):
    _restore(tmp_path / 'x', tiny.hf_vit(), tiny.hf_config(), preprocessor={})


def test_damage_is_told(tmp_path, stored):
  folder = torch_files.write(
    tmp_path / 'x', config=tiny.config(), stored=stored
  )
  path = folder / 'model.safetensors'
  path.write_bytes(path.read_bytes()[:-7])
  with pytest.raises(ValueError, match='no readable safetensors file'):
    checkpoints.restore(str(folder))
  (folder / 'config.json').write_text('{')
  with pytest.raises(ValueError, match=r'config.json.* no JSON'):
    checkpoints.restore(str(folder))


def test_pickles_are_never_opened(tmp_path):
  (tmp_path / 'config.json').write_text(json.dumps(tiny.config()))
  (tmp_path / 'pytorch_model.bin').write_bytes(b'cos\nsystem\n')
  with pytest.raises(ValueError, match=r'pytorch_model.bin.*save_file'):
    checkpoints.restore(str(tmp_path))
  with pytest.raises(ValueError, match=r'weights_only=True'):
    checkpoints.restore(str(tmp_path / 'pytorch_model.bin'))


def test_transformers_names_are_timms(tmp_path):
  of_timm = _restore(tmp_path / 'timm', tiny.vit())
  of_hf = _restore(
    tmp_path / 'hf',
    tiny.hf_vit(),
    tiny.hf_config(),
    preprocessor={**torch_files.PREPROCESSOR, 'size': 16},
  )
  for ours, theirs in zip(of_timm(_IMAGES), of_hf(_IMAGES), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_tower_is_found_beside_its_text_half(tmp_path):
  alone = torch_files.variables('hf_clip_vision')
  both = {f'vision_model.{name}': value for name, value in alone.items()}
  both['text_model.final_layer_norm.weight'] = np.ones(3, np.float32)
  both['logit_scale'] = np.ones((), np.float32)
  both['visual_projection.weight'] = np.ones((5, 192), np.float32)
  own = torch_files.manifest('hf_clip_vision')['config']
  backbone = _restore(
    tmp_path / 'clip', both, {'model_type': 'clip', 'vision_config': own}
  )
  assert len(backbone.skipped) == 3
  kernel = backbone.variables['params']['blocks.1']['attn']['qkv']['kernel']
  name = 'encoder.layers.1.self_attn.k_proj.weight'
  np.testing.assert_array_equal(kernel[:, 192:384], alone[name].T)


def test_references_name_folders_and_files(tmp_path, stored, monkeypatch):
  for name in ('a', 'b'):
    torch_files.write(tmp_path / name, config=tiny.config(), stored=stored)
  folder = tmp_path / 'b'
  (folder / 'model.safetensors').rename(folder / 'x.safetensors')
  (tmp_path / 'c').mkdir()
  monkeypatch.chdir(tmp_path)
  for selection, names in {
    'a': ['a'],
    './a/,a': ['a'],
    'a/model.safetensors': ['a'],
    'b/x.safetensors': ['x'],
    'b': ['b'],
    '.': ['a', 'b'],
    '*': ['a', 'b'],
  }.items():
    specs = checkpoints.select(selection)
    assert [each.name for each in specs] == names, selection


def test_it_is_ranked_cached_and_fine_tuned(tmp_path, stored):
  torch_files.write(tmp_path / 'mine', config=tiny.config(), stored=stored)
  config = measure_config.get_config('num_parameters')
  config.checkpoints = str(tmp_path / 'mine')
  config.task.num_examples = 30
  config.batch_size = 10
  config.cache_dir = str(tmp_path / 'cache')
  scores = ranked.scores_of(ranked.rank(config, str(tmp_path / 'run')))
  assert scores == {'mine': sum(value.size for value in stored.values())}
  again = ranked.rank(config, str(tmp_path / 'again'))
  assert {e['cached'] for e in again['ranking']} == {True}
  config = finetune_config.get_config()
  config.checkpoints = str(tmp_path / 'mine')
  config.task.num_examples = 40
  config.cache_dir = str(tmp_path / 'cache')
  config.protocol.mode = 'full'
  config.protocol.learning_rates = (0.01,)
  config.protocol.steps = (10,)
  config.protocol.batch_size = 8
  result = finetuning.finetune(config, str(tmp_path / 'tuned'))
  assert not result.failed
