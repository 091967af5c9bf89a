"""Scripts that reproduce a figure each, and the gallery of them."""
