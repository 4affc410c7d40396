"""The jobs of the workflow, one module for each kind; every function takes a `convrfm.pipeline.session.Job`."""
