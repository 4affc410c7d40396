"""The audit of results: is each claim of the paper reproduced by them, and can each number be trusted?

It reads a folder of results, builds nothing, and changes nothing in it but its own page. Throughout, `project` is the folder of
a project, `results` is `results/<preset>` relative to it, files are given relative to the project, and `products` are runs and
figures, see `convrfm.replication.audit.records.Product`.
"""
