"""The serving side: one file per Ray Serve deployment, and what they share."""
