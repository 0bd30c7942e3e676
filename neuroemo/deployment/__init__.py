"""From what a user names on the command line to a bundle: the model, the clips that prove it, the verdict."""
