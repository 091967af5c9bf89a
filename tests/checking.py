"""The checker behind jaxtyping's import hook: whole numbers count as floats, as they do in Python's type hints."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
