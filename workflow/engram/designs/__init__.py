"""Who is held out where."""
