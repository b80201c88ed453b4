"""`--help` of each command, and completion in real shells."""

import argparse
import os
import pty
import select
import shlex
import shutil
import subprocess
import time

import pytest

from train import main as train_main
from vq_jax.cli import main as cli
from vq_jax.config import catalog


def get_commands() -> dict[str, argparse.ArgumentParser]:
  (commands,) = (
    action
    for action in cli.parser()._actions
    if isinstance(action, argparse._SubParsersAction)
  )
  return dict(commands.choices)


@pytest.mark.parametrize('name', get_commands())
def test_the_help_of_a_command_shows_an_example_that_parses(name):
  text = get_commands()[name].format_help()
  _, _, example = text.partition('\nexample:\n')
  program, *argv = shlex.split(example)
  assert program == 'vqjax' and argv[0] == name
  cli.parser().parse_args(argv)


def test_the_help_of_training_lists_the_configs(capsys):
  with pytest.raises(SystemExit) as error:
    train_main.main(['--help'])
  assert error.value.code == 0
  lines = capsys.readouterr().out.splitlines()
  entries = catalog.read(catalog.find_folder())
  assert [line.split()[0] for line in lines[-len(entries) :]] == [
    entry.name for entry in entries
  ]


# The last words of these lines are completed.
CASES = {
  'recon': 'reconstruct',
  'generate --temp': '--temperature',
  'convert llamagen': 'llamagen-vq',
  'info ru': 'runs',
  'dream runs --guide clas': 'classifier-text',
  'generate runs --out pho': 'photo.png',
}
BASH = """
source {script}
COMP_WORDS=(vqjax {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
function_name=$(complete -p vqjax | sed 's/.*-F \\([^ ]*\\).*/\\1/')
$function_name vqjax "${{COMP_WORDS[-1]}}" "${{COMP_WORDS[-2]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
  (tmp_path / 'runs').mkdir()
  (tmp_path / 'photo.png').touch()
  monkeypatch.chdir(tmp_path)
  return tmp_path


def write_script(shell: str, folder, capsys):
  with pytest.raises(SystemExit) as error:
    cli.main(['--print-completion', shell])
  assert error.value.code == 0
  path = folder / f'completion.{shell}'
  path.write_text(capsys.readouterr().out)
  return path


def test_bash_completes_commands_flags_and_paths(folder, capsys):
  script = write_script('bash', folder, capsys)
  for words, expected in CASES.items():
    done = subprocess.run(
      ['bash', '--norc', '-c', BASH.format(script=script, words=words)],
      capture_output=True,
      text=True,
    )
    assert expected in done.stdout.split(), (words, done)


class Terminal:
  """A shell that reads keys."""

  def __init__(self, *command: str):
    self.file, terminal = pty.openpty()
    self.process = subprocess.Popen(
      command,
      stdin=terminal,
      stdout=terminal,
      stderr=terminal,
      env={**os.environ, 'TERM': 'dumb'},
      start_new_session=True,
    )
    os.close(terminal)

  def press(self, keys: str, expected: str) -> str:
    """Presses keys; returns what is shown until that is expected, or 10 s."""
    os.write(self.file, keys.encode())
    shown, deadline = '', time.monotonic() + 10
    while expected not in shown and time.monotonic() < deadline:
      if select.select([self.file], [], [], 0.1)[0]:
        shown += os.read(self.file, 65536).decode()
    return shown

  def close(self):
    os.close(self.file)
    self.process.kill()
    self.process.wait()


@pytest.mark.skipif(shutil.which('zsh') is None, reason='needs zsh')
def test_zsh_completes_commands_flags_and_paths(folder, capsys):
  write_script('zsh', folder, capsys).rename(folder / '_vqjax')
  shell = Terminal('zsh', '-f', '-i')
  shell.press(
    f"PS1='> '; fpath=({folder} $fpath); autoload -U compinit\n", '> '
  )
  shell.press('compinit -u -D; echo rea""dy\n', 'ready')
  for words, expected in CASES.items():
    shown = shell.press(f'\x15vqjax {words}\t', expected)
    assert expected in shown, (words, shown)
  shell.close()
