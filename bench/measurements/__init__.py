"""What is measured: one file a subject, each a function that takes a Run."""
