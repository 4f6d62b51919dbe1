"""From layers to costs: layers are matrix products, products fold over an array, folds and traffic take cycles."""
