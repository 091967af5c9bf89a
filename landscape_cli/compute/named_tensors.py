"""Tensors under dotted names, as a tree of empty modules holds them."""

from torch import nn


def home_of(root: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module under ``root``, made empty if need be, that holds what is called ``name``, and its name there.

    >>> root = nn.Module()
    >>> home, leaf = home_of(root, "stage1.0.conv1.weight")
    >>> leaf, root.get_submodule("stage1.0.conv1") is home
    ('weight', True)
    """
    module = root
    *path, leaf = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module.get_submodule(part)
    return module, leaf
