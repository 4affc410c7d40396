"""The plan of a configuration: presets, every kind of run and every figure, what each reads, and what it costs.

The rules of the workflow and the audit both ask here. `convrfm.replication.plan.plan` lists every kind of run and figure; the
other modules say, by subject, where their inputs lie and what their settings are. Nothing is computed, and of files only
the states of data are read.
"""
