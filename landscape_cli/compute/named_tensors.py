"""Tensors under dotted names: as a tree of empty modules holds them, and as wrappers name them."""

from torch import Tensor, nn

WRAPPERS = ("module.", "_orig_mod.")  # left by DataParallel and torch.compile


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


def unwrapped(tensors: dict[str, Tensor], further: str = "") -> dict[str, Tensor]:
    """A state without the prefixes that wrappers leave, where every name has them.

    Args:
        tensors: By name.
        further: Another prefix to strip, after those.

    >>> import torch
    >>> list(unwrapped({"_orig_mod.module.fc.bias": torch.zeros(1)}))
    ['fc.bias']
    """
    for start in (*WRAPPERS, *WRAPPERS, further):
        if start and all(name.startswith(start) for name in tensors):
            tensors = {name.removeprefix(start): tensor for name, tensor in tensors.items()}
    return tensors
