"""What is looked for in a model before it trains."""
