"""A page in the browser to try a model: `vqjax demo RUN`.

`actions` computes what a button shows, `inputs` reads what a browser sends,
`views` turns arrays into HTML. They need no Gradio. `controls` and `app` build
the page, and `server` serves it.
"""
