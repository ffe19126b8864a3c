"""The live page and its JSON API: one model on 127.0.0.1, one job at a time."""
