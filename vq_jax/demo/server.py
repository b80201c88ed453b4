"""Serves the page."""

import os
import socket
import tempfile
from collections.abc import Callable
from collections.abc import Mapping

from vq_jax.demo import guard
from vq_jax.demo import inputs
from vq_jax.model import Model

# Read by Gradio when it is imported: no statistics are sent.
_SETTINGS = {
  'GRADIO_ANALYTICS_ENABLED': 'False',
  'HF_HUB_DISABLE_TELEMETRY': '1',
}


def serve(
  models: Mapping[str, Model],
  *,
  host: str = '127.0.0.1',
  port: int = 7860,
  limits: inputs.Limits | None = None,
  ready: Callable[[str], None] = print,
) -> None:
  """Serves the page until the process is interrupted.

  Uploads are kept in a folder of their own, which is deleted at the end.

  Args:
    models: name -> model; see `app.build`.
    host: the address to bind to; 127.0.0.1 serves this machine alone.
    port: the port; 0 chooses a free one.
    limits: the limits of what clients may send.
    ready: is called with the URL when clients can connect.

  Raises:
    OSError: if the address is in use.
    ValueError: if the models cannot be shown on one page.
  """
  import uvicorn

  limits = limits or inputs.Limits()
  with (
    tempfile.TemporaryDirectory(prefix='vqjax-demo-') as folder,
    _bind(host, port) as listener,
  ):
    port = listener.getsockname()[1]
    app = make_app(models, limits, host=host, port=port, folder=folder)
    config = uvicorn.Config(
      app, log_level='warning', timeout_graceful_shutdown=1
    )
    name = f'[{host}]' if ':' in host else host
    ready(f'http://{name}:{port}')
    uvicorn.Server(config).run(sockets=[listener])


def make_app(
  models: Mapping[str, Model],
  limits: inputs.Limits,
  *,
  host: str,
  port: int,
  folder: str,
) -> guard.Guard:
  """Returns the ASGI application of the page.

  Args:
    models: name -> model.
    limits: the limits of what clients may send.
    host: the address at which it will be served.
    port: the port.
    folder: the folder of uploads.
  """
  os.environ.update(_SETTINGS, GRADIO_TEMP_DIR=folder)
  import fastapi
  import gradio as gr

  from vq_jax.demo import app as app_lib
  from vq_jax.demo import components

  # Fonts of the system: Gradio's would come with the page, or from a CDN.
  theme = gr.themes.Default(
    primary_hue='orange',
    font=['system-ui', 'sans-serif'],
    font_mono=['ui-monospace', 'monospace'],
  )
  blocks = app_lib.build(models, limits)
  components.restrict_files(blocks, folder)
  app = gr.mount_gradio_app(
    fastapi.FastAPI(openapi_url=None),
    blocks,
    path='/',
    server_name=host,
    server_port=port,
    show_error=False,
    max_file_size=limits.max_bytes,
    run_history=False,
    footer_links=[],
    ssr_mode=False,
    enable_monitoring=False,
    pwa=False,
    mcp_server=False,
    theme=theme,
    css=components.page_css(),
  )
  return guard.Guard(app, limits, host=host, folder=folder)


def _bind(host: str, port: int) -> socket.socket:
  """Returns a listening socket.

  Raises:
    OSError: if the address is in use or is not one of this machine.
  """
  family = socket.AF_INET6 if ':' in host else socket.AF_INET
  try:
    return socket.create_server((host, port), family=family)
  except (OSError, OverflowError) as error:
    reason = str(error).rstrip('.')
    raise OSError(
      f'cannot serve at {host}, port {port}: {reason}; choose another --port, '
      'or 0 for a free one.'
    ) from error
