"""`vqjax demo` with right and wrong arguments."""

import socket

import pytest

from vq_jax.cli import demo
from vq_jax.cli import main as cli


def test_names_are_short_and_differ():
  assert demo.short_names(['runs/q/maskgit']) == ['maskgit']
  assert demo.short_names(['runs/a/x', 'runs/b/x']) == ['a/x', 'b/x']
  with pytest.raises(ValueError, match='given twice'):
    demo.short_names(['runs/a', 'runs/../runs/a'])


def test_wrong_arguments_are_refused_before_a_model_is_loaded(capsys):
  pytest.importorskip('gradio')
  assert cli.main(['demo', 'no_run', '--max-waiting', '0']) == 1
  assert 'max_waiting must be' in capsys.readouterr().err
  assert cli.main(['demo', 'no_run']) == 1
  assert 'no_run' in capsys.readouterr().err


def test_a_port_in_use_is_one_line(maskgit, capsys):
  pytest.importorskip('gradio')
  with socket.create_server(('127.0.0.1', 0)) as other:
    port = other.getsockname()[1]
    assert cli.main(['demo', maskgit, '--port', str(port)]) == 1
  error = capsys.readouterr().err
  assert error.count('\n') == 1 and 'choose another --port' in error
