"""What people look at: the page, plots, the model card, storyboards. No number is computed here."""
