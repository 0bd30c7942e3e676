"""The tables and figures of the paper, made anew from one command each."""
