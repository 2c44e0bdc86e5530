# SPDX-License-Identifier: Apache-2.0
"""Typed records as JSON: what is wrong in a file is said, and not believed."""

import contextlib

import msgspec
import numpy as np
import pytest

from neucrab_jax import storage


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  size: int
  mean: float | None


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
  name: str
  parts: tuple[Part, ...]


def test_a_record_comes_back_as_it_was(tmp_path):
  record = Whole('τ', (Part(1, 0.1), Part(np.int64(2), np.float64(1e-300))))
  storage.write_json(tmp_path / 'record.json', record)
  assert storage.read_json(tmp_path / 'record.json', Whole) == record
  assert 'τ' in (tmp_path / 'record.json').read_text(encoding='utf-8')


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_what_json_has_not_is_null(tmp_path, value):
  storage.write_json(tmp_path / 'record.json', Part(1, value))
  assert storage.read_json(tmp_path / 'record.json', Part).mean is None
  assert storage.to_builtins(Part(1, value)) == {'size': 1, 'mean': None}


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('{"name": "a"}', 'missing required field `parts`'),
    ('{"name": 1, "parts": []}', r'Expected `str`, got `int` - at `\$.name`'),
    (
      '{"name": "a", "parts": [{"size": 1, "mean": null, "more": 2}]}',
      r'unknown field `more` - at `\$.parts\[0\]`',
    ),
    (
      '{"name": "a", "parts": [{"size": 1.5, "mean": 1}]}',
      r'at `\$.parts\[0\].size`',
    ),
    ('{"name"', 'truncated'),
    ('[]', 'Expected `object`, got `array`'),
  ],
)
def test_a_wrong_record_is_one_line_with_file_and_place(
  tmp_path, text, message
):
  file = tmp_path / 'record.json'
  file.write_text(text)
  with pytest.raises(storage.DamagedFileError, match=message) as error:
    storage.read_json(file, Whole)
  assert str(error.value).startswith(f'{str(file)!r} is no Whole record: ')
  assert '\n' not in str(error.value)


def test_no_flipped_bit_of_a_sealed_record_is_believed(tmp_path):
  file = tmp_path / 'record.json'
  record = Whole('a', (Part(1, 0.1), Part(23, 4.5e-6)))
  storage.write_sealed(file, record)
  assert storage.read_sealed(file, Whole) == record
  whole = file.read_bytes()
  rng = np.random.default_rng(0)
  for place in rng.choice(len(whole), 60, replace=False):
    flipped = bytearray(whole)
    flipped[place] ^= 1 << rng.integers(8)
    file.write_bytes(flipped)
    with contextlib.suppress(storage.DamagedFileError):
      # White space and the writing of a number may differ, what is meant not.
      assert storage.read_sealed(file, Whole) == record
  for end in (0, 1, len(whole) // 2, len(whole) - 3):
    file.write_bytes(whole[:end])
    with pytest.raises(storage.DamagedFileError):
      storage.read_sealed(file, Whole)


def test_only_a_record_of_our_own_needs_a_seal(tmp_path):
  file = tmp_path / 'record.json'
  record = Whole('a', ())
  storage.write_json(file, record)
  assert storage.read_sealed(file, Whole, needs_seal=False) == record
  with pytest.raises(storage.DamagedFileError, match='its own digest'):
    storage.read_sealed(file, Whole)
  file.write_text('{"sha256": "0", "name": "a", "parts": []}')
  with pytest.raises(storage.DamagedFileError, match='its own digest'):
    storage.read_sealed(file, Whole, needs_seal=False)


def test_a_record_in_no_text_is_damaged(tmp_path):
  file = tmp_path / 'record.json'
  file.write_bytes(b'{"name": "\xff", "parts": []}')
  with pytest.raises(storage.DamagedFileError, match='is no Whole record'):
    storage.read_json(file, Whole)
