"""`neuroemo simulate`: clips streamed through a chip's file, in our simulator, in the vendor's, or in both."""
