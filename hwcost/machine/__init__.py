"""An accelerator as a value: the array, how products lie on it, what a fold costs, what memory delivers."""
