"""What jobs compute, a module for each kind of run; each job takes a `convrfm.replication.record.session.Job`."""
