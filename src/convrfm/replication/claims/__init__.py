"""The claims of the paper: what has to hold for each of them, and the verdicts on tables of figures.

`claims.yaml` holds every threshold. Audit and captions judge by the same functions; nothing here knows the audit.
"""
