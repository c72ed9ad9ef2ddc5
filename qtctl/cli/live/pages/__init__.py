"""The pages of `qtctl top`, one a module: six by number, and what Enter opens from them."""
