"""What a notebook uses: quantities of modules, tensors, loaders and state dicts, without files or a command line.

The public names are those of ``landscape_cli`` itself (``from landscape_cli import barrier``), loaded when they are
asked for. Each function takes networks and data as they lie in a notebook, leaves them alone (it works on copies),
calls one function of ``landscape_cli.compute``, and gives what the command of the same name gives. Options are called
as those of the command line.
"""
