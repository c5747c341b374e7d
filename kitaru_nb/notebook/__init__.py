"""IPython's side: magics, the cell hooks, what a notebook shows."""
