"""Looking at an export: drawings, the page, the Markdown report and the model card."""
