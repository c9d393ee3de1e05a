"""Where data, model, mechanism, vault and accountant meet: settings in, a stream of points out."""
