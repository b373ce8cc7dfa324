"""Ask from Python and over HTTP; never imports a model."""
