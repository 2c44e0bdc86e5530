# SPDX-License-Identifier: Apache-2.0
"""A hub on this machine, and its client."""

import sys

import pytest

from tests.checkpoints import hub_server, torch_files
from tests.checkpoints import tiny_torch as tiny


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """A network as a repository has it."""
  return torch_files.write(
    tmp_path_factory.mktemp('made'), config=tiny.config(), stored=tiny.vit()
  )


@pytest.fixture
def client(monkeypatch, tmp_path):
  """Starts the client anew, with an environment: it reads it once."""
  monkeypatch.setenv('HF_HOME', str(tmp_path / 'home'))
  monkeypatch.setenv('HF_HUB_DISABLE_TELEMETRY', '1')
  monkeypatch.setenv('HF_HUB_DISABLE_XET', '1')
  monkeypatch.setenv('HF_HUB_VERBOSITY', 'error')
  monkeypatch.delenv('HF_HUB_CACHE', raising=False)
  monkeypatch.delenv('HF_TOKEN', raising=False)
  # What the client waits between two tries.
  monkeypatch.setattr('time.sleep', lambda seconds: None)

  def start(**environment):
    for name, value in environment.items():
      monkeypatch.setenv(name, value)
    for module in list(sys.modules):
      if module.partition('.')[0] == 'huggingface_hub':
        monkeypatch.delitem(sys.modules, module)

  start()
  return start


@pytest.fixture
def hub(client, folder):
  with hub_server.serving() as hub:
    hub.add(hub_server.NAME, folder)
    client(HF_ENDPOINT=hub.url)
    yield hub
